"""The backbones of the planted world and how each is trained; what the shipped weights are made by.

Read at every start of Snakemake, so without torch.
"""

from dataclasses import dataclass, replace

VIT = "vit_planted"
UNLABELLED = "vit_planted.unlabelled"
CONVNEXT = "convnext_planted"
SWIN = "swin_planted"


@dataclass(frozen=True)
class TrainingSpec:
    """The identity of a training run.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    batch_size : int
        Images a step, drawn without replacement until the training images run out.
    learning_rate : float
        The peak of the one-cycle schedule, for AdamW.
    weight_decay : float
    warmup : float
        Share of the steps before the peak.
    gradient_norm : float
        Longer gradients are scaled down to this.
    max_shift : int
        Augmentation: largest shift of an image, in pixels, in each direction.
    brightness : float
        Augmentation: gains are uniform in 1 ± this.
    seed : int
        Of the initial weights, the order of the images and their augmentation.
    """

    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.15
    gradient_norm: float = 1.0
    max_shift: int = 4
    brightness: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class ViewSpec:
    """How two views of an image differ, and how they are compared.

    Attributes
    ----------
    rotation : float
        Largest angle, in degrees, in each direction.
    scales : pair of float
        Least and largest side of what a view shows, as a share of the image's.
    shift : float
        Largest shift of the view's centre, as a share of half the image's side.
    gains : float
        Each channel's gain is uniform in 1 ± this.
    width : int
        Of the projections that are compared.
    temperature : float
        Of the softmax over the other views of the batch.
    """

    rotation: float = 20.0
    scales: tuple[float, float] = (0.55, 1.0)
    shift: float = 0.2
    gains: float = 0.3
    width: int = 64
    temperature: float = 0.2


@dataclass(frozen=True)
class Recipe:
    """A backbone and how it is trained."""

    model: str = VIT
    """timm's name of it."""
    training: TrainingSpec = TrainingSpec()
    views: ViewSpec | None = None
    """Of training without labels, which needs a model with a class token; None trains with them."""


RECIPES = {
    "vit": Recipe(),
    "vit_unlabelled": Recipe(UNLABELLED, TrainingSpec(steps=700), ViewSpec()),
    "convnext": Recipe(CONVNEXT, TrainingSpec(steps=1500, learning_rate=2e-3)),
    "swin": Recipe(SWIN, TrainingSpec(steps=1200)),
}
"""By the name of the folder `resources/planted_{name}` that holds the shipped weights."""


def recipe_of(name: str, seed: int) -> Recipe:
    """Return a recipe of `RECIPES` with another seed."""
    recipe = RECIPES[name]
    return replace(recipe, training=replace(recipe.training, seed=seed))
