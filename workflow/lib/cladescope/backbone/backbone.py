"""The vision model whose activations are studied.

Only this room knows timm, apart from the planted world's network, which registers itself there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import timm
import torch
from jaxtyping import Float
from PIL import Image
from timm.data import create_transform
from torch import Tensor

from cladescope.backbone.layers import (
    Layer,
    check_blocks,
    check_tokens,
    create_model,
    data_config,
    describe_preprocessing,
    list_layers,
)
from cladescope.backbone.reading import has_tokens, read_layers
from cladescope.backbone.weights import hash_weights, linear_of, load_checkpoint, read_classifier

MODEL_WEIGHTS = ("pretrained", "random")


@dataclass(frozen=True)
class BackboneSpec:
    """Which model, with which weights."""

    model: str
    """timm's name, with a pretrained tag if wanted."""
    weights: str
    """`pretrained`, `random` or the path of a local checkpoint."""
    blocks: int
    """Number of layers that the model must have."""
    image_size: int | None = None
    """Input side in pixels; None takes the model's own."""
    seed: int | None = None
    """Seed of random weights."""
    modules: Sequence[str] | None = None
    """Modules of a convolutional model that count as its layers; None takes timm's stages."""
    preprocessing: Mapping[str, Any] | None = None
    """`mean`, `std`, `crop` and `interpolation`, as far as they differ from timm's."""


@dataclass(frozen=True)
class Backbone:
    """A model ready to be read layer by layer."""

    name: str
    """timm's."""
    model: Any
    transform: Callable[[Image.Image], Tensor]
    layers: list[Layer]
    weights_sha256: str
    preprocessing: dict[str, Any]
    """timm's data configuration, as recorded in the manifest."""

    def check_tokens(self, tokens: Sequence[str]) -> None:
        """Raise a ValueError that names the alternatives if the model lacks a kind or a site."""
        check_tokens(self.name, self.layers, tokens)

    @torch.inference_mode()
    def read(
        self,
        images: Float[Tensor, "batch 3 height width"],
        layers: Sequence[int],
        tokens: Sequence[str],
    ) -> dict[tuple[int, str], Float[Tensor, "batch tokens width"]]:
        """Return some kinds of tokens of each of `layers` (from 1) from one forward pass.

        The values are the residual stream after the block (the map after the stage or module),
        before any final norm; the pass stops after the deepest layer. Kinds: `cls`, `registers`,
        `patches` (row by row from the top left) and their `mean`, as far as the model has them. At
        a site of the block (`cls_attention`, `mean_mlp`) they are what that part of it adds to the
        stream: before the block, attention and MLP together are what the block leaves.
        """
        modules = [layer.name for layer in self.layers]
        return read_layers(self.model, modules, images, layers, tokens)


class Classifier(NamedTuple):
    """The last layer of a model that was trained to name classes: logits = weight · x + bias."""

    weight: Float[Tensor, "outputs width"]
    bias: Float[Tensor, " outputs"]


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Build the model and load its weights.

    Raises
    ------
    ValueError
        If timm does not know the model or cannot read it layer by layer, the model has another
        number of layers than declared, or the checkpoint does not fit; lists what differs.
    FileNotFoundError
        If the checkpoint does not exist.
    """
    layers = list_layers(spec.model, spec.image_size, spec.modules)
    check_blocks(spec.model, layers, spec.blocks)
    # Random weights are drawn here; the generator's state is not used elsewhere.
    torch.manual_seed(spec.seed or 0)
    model = create_model(spec.model, spec.weights == "pretrained", spec.image_size)
    if spec.weights not in MODEL_WEIGHTS:
        load_checkpoint(model, spec.model, spec.weights)
    if not has_tokens(model):
        model = model.to(memory_format=torch.channels_last)
    config = data_config(model, spec.image_size, spec.preprocessing)
    described = {key: _plain(value) for key, value in sorted(config.items())}
    transform = create_transform(**config, is_training=False)
    return Backbone(
        name=spec.model,
        model=model.requires_grad_(False),
        transform=transform,
        layers=layers,
        weights_sha256=hash_weights(model),
        preprocessing={**described, "transform": [str(step) for step in transform.transforms]},
    )


def make_transform(spec: BackboneSpec) -> Callable[[Image.Image], Tensor]:
    """Return what images go through before the model sees them, without making its weights."""
    config = describe_preprocessing(spec.model, spec.image_size, spec.preprocessing)
    return create_transform(**config, is_training=False)


def load_classifier(spec: BackboneSpec, backbone: Backbone) -> "Classifier | None":
    """Return the classifier that a model's weights came with, which `load_backbone` leaves out.

    None for random weights, and where there is not exactly one that is linear.
    """
    if spec.weights == "random":
        return None
    if spec.weights == "pretrained":
        head: Any = timm.create_model(spec.model, pretrained=True)
        head = head.get_classifier()
        found = linear_of(getattr(head, "weight", None), getattr(head, "bias", None))
    else:
        found = read_classifier(backbone.model, spec.weights)
    return None if found is None else Classifier(*found)


def has_token_sequence(backbone: Backbone) -> bool:
    """Return whether a model keeps one sequence of tokens, as a vision transformer does."""
    return has_tokens(backbone.model)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
