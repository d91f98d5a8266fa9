"""The model that is changed, the images it is run on, and how its output is read."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cladescope.activations.store import read_activations
from cladescope.backbone.backbone import Backbone, BackboneSpec, load_backbone, load_classifier
from cladescope.backbone.changing import check_changeable
from cladescope.causes.readout import (
    ABOVE_CHANCE,
    Readout,
    head_readout,
    probe_readout,
    sample_means,
)
from cladescope.causes.tpp import Tokens
from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import ImageSource
from cladescope.jobs import warn
from cladescope.layout import place_of
from cladescope.machines import make_deterministic, torch_device
from cladescope.scores.halves import Halves, halve
from cladescope.scores.splitting import can_level, split_halves
from cladescope.sites import SINGLE
from cladescope.taxonomy.taxonomy import Taxonomy

LOOKED_AT = 128
"""Images on which a head is asked whether it knows the classes."""
SEED = 0
"""Of these images, and of those that a probe and means are of."""


@dataclass(frozen=True)
class HalvesSpec:
    """The halves of the images, as the scores have them."""

    top_n: int
    split_selection: bool
    seed: int


@dataclass(frozen=True, eq=False)
class World:
    """The evaluation images, decoded when they are needed, their classes, and their halves."""

    index: ImageIndex
    source: ImageSource
    taxonomy: Taxonomy
    spec: HalvesSpec
    groups: Int[np.ndarray, " images"] | None = None
    """From 0; images of a group are in the same half. None: each for itself."""

    @cached_property
    def labels(self) -> Int[np.ndarray, " images"]:
        """Class of each image."""
        return self.index.labels.astype(np.int64)

    @cached_property
    def parts(self) -> tuple[Bool[np.ndarray, " images"], Bool[np.ndarray, " images"]]:
        """The images that choices are made on, and those that they are measured on."""
        separate = self.spec.split_selection
        level = can_level(self.labels, len(self.taxonomy.leaves), separate=separate)
        return split_halves(
            self.labels, self.spec.seed, self.groups, separate=separate, level=level
        )

    def halves(self, codes: Codes) -> Halves:
        """Return what fires the latents that are scored."""
        ranked = strongest_first(codes, self.spec.seed)
        n_classes = len(self.taxonomy.leaves)
        return halve(ranked, self.labels, n_classes, self.spec.top_n, self.parts)

    def pixels(
        self, backbone: Backbone, rows: Int[np.ndarray, " batch"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Decode and preprocess images, checked against their index."""
        found = [decode_image(self.source.read_checked(self.index, row)) for row in rows]
        device = next(backbone.model.parameters()).device
        return torch.stack([backbone.transform(image) for image in found]).to(device)


@dataclass(frozen=True, eq=False)
class Model:
    """A backbone on its device, where it is changed, and how its output is read."""

    backbone: Backbone
    place: tuple[int, str]
    """Layer (from 1) and token that dictionaries read."""
    readout: Readout
    tokens: Tokens | None = None
    """What stands there, for targeted probe perturbation; None leaves it out."""


@dataclass(frozen=True)
class Stores:
    """Activations of both splits: at the place that is changed, and behind it, for a probe."""

    here: tuple[str, str]
    """Manifests of the training and the evaluation split."""
    deepest: tuple[str, str]
    """The same of the deepest layer that dictionaries are of."""
    train_index: str

    @cached_property
    def train_labels(self) -> Int[np.ndarray, " images"]:
        """Class of each training image."""
        return ImageIndex.load(self.train_index).labels.astype(np.int64)


def prepare_model(
    spec: BackboneSpec,
    place: tuple[int, str],
    world: World,
    stores: Stores,
    wordnet: str | Path,
) -> Model:
    """Load a model and find out what it says of the images: by its head, or by a probe.

    Parameters
    ----------
    wordnet
        Folder with `corpora/wordnet.zip`.

    Raises
    ------
    ValueError
        From the backbone; or if it cannot be changed at the layer.
    """
    make_deterministic()
    backbone = load_backbone(spec)
    backbone.model.to(torch_device())
    looked_at = np.flatnonzero(world.parts[0])
    looked_at = np.sort(np.random.default_rng(SEED).permutation(looked_at)[:LOOKED_AT])
    check_changeable(backbone, world.pixels(backbone, looked_at[:2]), *place)
    readout = head_readout(load_classifier(spec, backbone), world.taxonomy.leaves, wordnet)
    if readout is None or not _knows(readout, backbone, world, looked_at):
        train, held_out = stores.deepest
        readout = probe_readout(
            (train, stores.train_labels),
            (held_out, world.labels, world.parts[0]),
            len(world.taxonomy.leaves),
            (place_of(train)[0], place[1]),
            SEED,
        )
    logging.info("read out by the %s of %s", readout.name, backbone.name)
    tokens = None
    if place[1] in SINGLE:
        train, held_out = stores.here
        tokens = Tokens(
            read_activations(held_out)[:, 0], *sample_means(train, stores.train_labels, SEED)
        )
    return Model(backbone, place, readout, tokens)


@torch.inference_mode()
def _knows(head: Readout, backbone: Backbone, world: World, rows: np.ndarray) -> bool:
    """Say whether a head is right about images more often than chance."""
    rows = rows[head.named()[world.labels[rows]]]
    chance = 1 / head.named().sum()
    parts = np.array_split(rows, max(1, len(rows) // 16))
    guesses = [
        head.probabilities(head.features(backbone, world.pixels(backbone, part))).argmax(1).cpu()
        for part in parts
        if len(part)
    ]
    right = float((np.concatenate(guesses) == world.labels[rows]).mean()) if len(rows) else 0.0
    if right < ABOVE_CHANCE * chance:
        warn(
            f"the head of {backbone.name} is right about {right:.3f} of the images, by chance "
            f"{chance:.3f}: its outputs are other classes, or in another order; a probe stands in"
        )
    return right >= ABOVE_CHANCE * chance
