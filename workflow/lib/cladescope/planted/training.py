"""Train the backbone of the planted world on its images only, to the same bytes each time."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from cladescope.files import write_aside, write_json
from cladescope.planted.network import MODEL_NAME, PIXEL_DEVIATION, PIXEL_MEAN

log = logging.getLogger(__name__)

LOG_EVERY = 100
EVALUATION_BATCH = 256
LIBRARIES = ("numpy", "pillow", "safetensors", "timm", "torch")


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


class LabelledImages(NamedTuple):
    """A folder of images in memory.

    Attributes
    ----------
    pixels : Tensor, shape (n, 3, size, size), uint8
    labels : Tensor, shape (n,), int64
        Index of the image's class in `wnids`.
    wnids : list of str
        The folder's classes, sorted.
    sha256 : str
        Of the relative paths and the files' contents, in sorted order.
    """

    pixels: Tensor
    labels: Tensor
    wnids: list[str]
    sha256: str


def train_planted_backbone(
    images_train: str | Path,
    images_eval: str | Path,
    spec: TrainingSpec,
    checkpoint: str | Path,
    sidecar: str | Path,
    threads: int = 1,
) -> None:
    """Train `vit_planted` to classify the leaves; write its weights and how they were made.

    The loss is the cross-entropy of the class token's head plus that of a second head, dropped
    afterwards, on the mean patch token: the patch tokens then carry the class too. On one machine
    and number of threads, the same inputs give the same bytes.

    Parameters
    ----------
    images_train, images_eval : path
        Folders `{wnid}/*.png` with the same classes, as `render_split` writes them.
    spec : TrainingSpec
    checkpoint : path
        Gets the state dict, as safetensors.
    sidecar : path
        Gets a JSON object: the model's name and number of parameters, `spec`, the checkpoint's and
        the images' hashes, the classes in label order, the training log, the accuracy over all
        images of `images_eval`, and the library versions.
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
    with _reproducibly(spec.seed, threads):
        model = timm.create_model(MODEL_NAME, num_classes=len(train.wnids))
        steps = _fit(model, train, spec)
        accuracy = _accuracy(model, evaluation)
    log.info("accuracy over %d evaluation images: %.4f", len(evaluation.labels), accuracy)
    weights = save({name: value.contiguous() for name, value in model.state_dict().items()})
    with write_aside(checkpoint) as aside:
        aside.write_bytes(weights)
    write_json(
        sidecar,
        {
            "model": MODEL_NAME,
            "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "checkpoint_sha256": hashlib.sha256(weights).hexdigest(),
            "training": asdict(spec) | {"threads": threads},
            "images": {
                split: {"n_images": len(images.labels), "sha256": images.sha256}
                for split, images in (("train", train), ("eval", evaluation))
            },
            "wnids": train.wnids,
            "eval_accuracy": accuracy,
            "log": steps,
            "libraries": {library: version(library) for library in LIBRARIES},
        },
    )


def read_images(folder: str | Path) -> LabelledImages:
    """Read all PNG files of a folder `{wnid}/*.png`, in sorted order.

    Raises
    ------
    ValueError
        If there are none, or if they differ in size (naming the first that does).
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*/*.png"), key=lambda path: path.relative_to(folder).as_posix())
    if not paths:
        raise ValueError(f"{folder} holds no images of the form {{wnid}}/*.png")
    wnids = sorted({path.parent.name for path in paths})
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    digest = hashlib.sha256()
    pixels = None
    for i, path in enumerate(paths):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
        with Image.open(path) as image:
            image_pixels = np.asarray(image.convert("RGB"))
        if pixels is None:
            pixels = np.empty((len(paths), *image_pixels.shape), np.uint8)
        if image_pixels.shape != pixels.shape[1:]:
            raise ValueError(f"{path} differs in size from {paths[0]}")
        pixels[i] = image_pixels
    assert pixels is not None
    return LabelledImages(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        torch.tensor([label_of[path.parent.name] for path in paths]),
        wnids,
        digest.hexdigest(),
    )


def _fit(model: Any, train: LabelledImages, spec: TrainingSpec) -> list[dict]:
    """Train in place; return the log, one entry per `LOG_EVERY` steps and one for the last."""
    generator = torch.Generator().manual_seed(spec.seed)
    patch_head = nn.Linear(model.embed_dim, len(train.wnids))
    parameters = [*model.parameters(), *patch_head.parameters()]
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
        labels = train.labels[batch]
        tokens = model.forward_features(_augment(train.pixels[batch], spec, generator))
        logits = model.forward_head(tokens)
        class_loss = cross_entropy(logits, labels)
        patch_loss = cross_entropy(patch_head(tokens[:, 1:].mean(1)), labels)
        optimizer.zero_grad()
        (class_loss + patch_loss).backward()
        nn.utils.clip_grad_norm_(parameters, spec.gradient_norm)
        optimizer.step()
        schedule.step()
        losses.append(class_loss.item())
        hits.append((logits.argmax(1) == labels).float().mean().item())
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
        hits += int((model(_normalise(pixels)).argmax(1) == labels).sum())
    return hits / len(images.labels)


def _batches(n_images: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of indices without end: passes in random order, less a last, smaller batch."""
    if n_images < batch_size:
        raise ValueError(f"a batch of {batch_size} needs more than {n_images} training images")
    while True:
        order = torch.randperm(n_images, generator=generator)
        yield from order[: n_images - n_images % batch_size].split(batch_size)


def _normalise(pixels: Tensor) -> Tensor:
    """Return uint8 pixels as the model's input; as timm's transform for its default config."""
    mean = torch.tensor(PIXEL_MEAN).view(3, 1, 1)
    deviation = torch.tensor(PIXEL_DEVIATION).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / deviation


def _augment(pixels: Tensor, spec: TrainingSpec, generator: torch.Generator) -> Tensor:
    """Normalise a batch (n, 3, size, size) and vary each image: mirror, shift, colour, light."""
    n, channels, size, _ = pixels.shape
    images = _normalise(pixels)
    mirror = torch.rand(n, generator=generator) < 0.5
    images[mirror] = images[mirror].flip(3)
    padded = pad(images, (spec.max_shift,) * 4, mode="replicate")
    top, left = torch.randint(2 * spec.max_shift + 1, (2, n), generator=generator)
    rows = (top[:, None] + torch.arange(size)).view(n, 1, size, 1)
    columns = (left[:, None] + torch.arange(size)).view(n, 1, 1, size)
    # Hues mean nothing in the planted world: permuting the channels makes new ones.
    shuffled = torch.rand(n, channels, generator=generator).argsort(1).view(n, channels, 1, 1)
    images = padded[torch.arange(n).view(n, 1, 1, 1), shuffled, rows, columns]
    gain = 1 + spec.brightness * (2 * torch.rand(n, 1, 1, 1, generator=generator) - 1)
    return images * gain


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
