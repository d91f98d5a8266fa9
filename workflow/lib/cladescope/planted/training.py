"""Train backbones of the planted world on its images only, to the same bytes each time."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import normalize

import cladescope.planted.network  # noqa: F401  registers the backbones with timm
from cladescope.files import write_aside, write_json
from cladescope.planted.labelled_images import LabelledImages, normalise, read_images
from cladescope.planted.objectives import LeafLabels, TwoViews
from cladescope.planted.recipes import Recipe, TrainingSpec

log = logging.getLogger(__name__)

LOG_EVERY = 100
EVALUATION_BATCH = 256
LIBRARIES = ("numpy", "pillow", "safetensors", "timm", "torch")


def train_planted_backbone(
    images_train: str | Path,
    images_eval: str | Path,
    recipe: Recipe,
    checkpoint: str | Path,
    sidecar: str | Path,
    threads: int = 1,
) -> None:
    """Train a backbone on leaves, with labels or without; write its weights and how they were made.

    On one machine and number of threads, the same inputs give the same bytes.

    Parameters
    ----------
    images_train, images_eval : path
        Folders `{wnid}/*.png` with the same classes, as `render_split` writes them.
    recipe : Recipe
    checkpoint : path
        Gets the state dict, as safetensors; without labels it has no classifier.
    sidecar : path
        Gets a JSON object: the model's name and number of parameters, the recipe, the checkpoint's
        and the images' hashes, the classes in label order, the training log, the accuracy over all
        images of `images_eval` (without labels that of the nearest other image of them, by the
        cosine of what the model pools), and the library versions.
    threads : int
        Torch threads; more than one changes the order of sums and so the last bits.

    Raises
    ------
    ValueError
        If a folder holds no images, or the two do not hold the same classes.
    """
    train, evaluation = read_images(images_train), read_images(images_eval)
    if train.wnids != evaluation.wnids:
        differing = sorted(set(train.wnids) ^ set(evaluation.wnids))
        raise ValueError(
            f"{images_train} and {images_eval} must hold the same classes; only one of them has "
            f"{', '.join(differing)}"
        )
    spec, n_classes = recipe.training, len(train.wnids)
    with _reproducibly(spec.seed, threads):
        objective: nn.Module
        if recipe.views is None:
            model = timm.create_model(recipe.model, num_classes=n_classes)
            objective = LeafLabels(model, n_classes, spec.max_shift, spec.brightness)
            measured, accuracy_of = "eval_accuracy", _accuracy
        else:
            model = timm.create_model(recipe.model, num_classes=0)
            objective = TwoViews(model, recipe.views)
            measured, accuracy_of = "eval_neighbour_accuracy", _neighbour_accuracy
        steps = _fit(model, objective, train, spec)
        accuracy = accuracy_of(model, evaluation)
    log.info("accuracy over %d evaluation images: %.4f", len(evaluation.labels), accuracy)
    weights = save({name: value.contiguous() for name, value in model.state_dict().items()})
    with write_aside(checkpoint) as aside:
        aside.write_bytes(weights)
    write_json(
        sidecar,
        {
            "model": recipe.model,
            "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "checkpoint_sha256": hashlib.sha256(weights).hexdigest(),
            "training": asdict(spec) | {"threads": threads},
            **({} if recipe.views is None else {"views": asdict(recipe.views)}),
            "images": {
                split: {"n_images": len(images.labels), "sha256": images.sha256}
                for split, images in (("train", train), ("eval", evaluation))
            },
            "wnids": train.wnids,
            measured: accuracy,
            "log": steps,
            "libraries": {library: version(library) for library in LIBRARIES},
        },
    )


def _fit(model: Any, objective: nn.Module, train: LabelledImages, spec: TrainingSpec) -> list[dict]:
    """Train in place; return the log, one entry per `LOG_EVERY` steps and one for the last."""
    generator = torch.Generator().manual_seed(spec.seed)
    parameters = [*model.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, spec.learning_rate, betas=(0.9, 0.98), weight_decay=spec.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, spec.learning_rate, total_steps=spec.steps, pct_start=spec.warmup
    )
    batches = _batches(len(train.labels), spec.batch_size, generator)
    entries = []
    losses, hits = [], []
    model.train()
    for step in range(1, spec.steps + 1):
        batch = next(batches)
        outcome = objective(model, train.pixels[batch], train.labels[batch], generator)
        optimizer.zero_grad()
        outcome.loss.backward()
        nn.utils.clip_grad_norm_(parameters, spec.gradient_norm)
        optimizer.step()
        schedule.step()
        losses.append(outcome.shown)
        hits.append(outcome.accuracy)
        if step % LOG_EVERY == 0 or step == spec.steps:
            entry = {"step": step, "loss": np.mean(losses).item(), "accuracy": np.mean(hits).item()}
            log.info("step %(step)d: loss %(loss).3f, training accuracy %(accuracy).3f", entry)
            entries.append(entry)
            losses, hits = [], []
    return entries


@torch.no_grad()
def _accuracy(model: Any, images: LabelledImages) -> float:
    model.eval()
    hits = 0
    for pixels, labels in zip(
        images.pixels.split(EVALUATION_BATCH), images.labels.split(EVALUATION_BATCH), strict=True
    ):
        hits += int((model(normalise(pixels)).argmax(1) == labels).sum())
    return hits / len(images.labels)


@torch.no_grad()
def _neighbour_accuracy(model: Any, images: LabelledImages) -> float:
    model.eval()
    pooled = [model(normalise(pixels)) for pixels in images.pixels.split(EVALUATION_BATCH)]
    directions = normalize(torch.cat(pooled), dim=1)
    likeness = (directions @ directions.T).fill_diagonal_(-1)
    return (images.labels[likeness.argmax(1)] == images.labels).float().mean().item()


def _batches(n_images: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of indices without end: passes in random order, less a last, smaller batch."""
    if n_images < batch_size:
        raise ValueError(f"a batch of {batch_size} needs more than {n_images} training images")
    while True:
        order = torch.randperm(n_images, generator=generator)
        yield from order[: n_images - n_images % batch_size].split(batch_size)


@contextmanager
def _reproducibly(seed: int, threads: int) -> Iterator[None]:
    """Seed torch and set its number of threads; restore both afterwards."""
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.use_deterministic_algorithms(deterministic_before)
