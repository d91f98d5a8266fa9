"""Taking a node's latents away from the token that they read, and running the rest of the model.

x̃ = x − scale · Σ_j z_j d_j over the node's latents j: what the dictionary does not explain stays.
`trials.py` says which latents and which controls, `measures.py` what is made of the outputs.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cladescope.about import write_about
from cladescope.backbone.changing import Change, changed_layer
from cladescope.causes.kinds import PROJECTED, SHRUNK
from cladescope.causes.measures import Totals, measure
from cladescope.causes.model import Model, World
from cladescope.causes.tpp import targeted_perturbation
from cladescope.causes.trials import Questions, Set, ask, plan_trials
from cladescope.codes.codes import Codes
from cladescope.codes.encode import encoder_of
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.jobs import progress
from cladescope.scores.nulls import leaf_permutations
from cladescope.sites import SINGLE
from cladescope.taxonomy.tree import Tree

_RIDGE = 1e-6
"""Keeps decoder rows that are the same from dividing by zero."""


@dataclass(frozen=True)
class AblationSpec:
    """What is taken away, and on how many images it is measured."""

    latents: tuple[int, ...]
    """Numbers of latents of a node; each at most that of the largest coalition."""
    images: int
    """Images of each class that are measured on, at random; all of the scoring half if fewer."""
    permuted_draws: int
    """Permutations of the leaves for which latents are chosen anew."""
    batch_size: int
    """Copies of images that run together; bounds the memory."""
    seed: int


def ablate(
    dictionary: Dictionary,
    codes: Codes,
    world: World,
    model: Model,
    spec: AblationSpec,
    path: str | Path,
) -> None:
    """Write what ablating each node's latents does; docs/causes.md lists the columns.

    Parameters
    ----------
    codes
        Of the evaluation images.

    Raises
    ------
    ValueError
        If an image is not the indexed one.
    """
    labels, tree, named = world.labels, Tree.of(world.taxonomy), model.readout.named()
    halves = world.halves(codes)
    sample = sample_of(world.parts[1] & named[labels], labels, spec.images, spec.seed)
    permutations = [*islice(leaf_permutations(tree, world.spec.seed), spec.permuted_draws)]
    steer = model.place[1] in SINGLE
    trials = plan_trials(halves, tree, permutations, spec.latents, spec.seed, steer=steer)
    inside = tree.covers[labels[sample]][:, tree.internal]
    questions = ask(trials, firing(codes, sample), inside, spec.seed)
    n_copies = len(questions.image) - len(sample)
    logging.info("%d images, %d changed copies of them", len(sample), n_copies)
    totals = Totals(trials, questions, tree, labels[sample], permutations)
    for runs, found, lengths in run(dictionary, world, model, sample, questions, spec.batch_size):
        totals.add(runs, found, lengths)
    tpp = {}
    if model.tokens is not None:
        tpp = targeted_perturbation(
            dictionary, codes, labels, world.parts, model.tokens, spec.latents
        )
    about = {
        "readout": model.readout.name,
        "accuracy": totals.accuracy(),
        "n_images": len(sample),
        "n_copies": n_copies,
        "tpp": tpp,
    }
    table = measure(totals, world.taxonomy, named)
    write_about(table, about, path)


def sample_of(
    allowed: Bool[np.ndarray, " images"], labels: Int[np.ndarray, " images"], n: int, seed: int
) -> Int[np.ndarray, " sample"]:
    """Return at most `n` of the allowed images of each class, at random, sorted."""
    images = np.random.default_rng(seed).permutation(np.flatnonzero(allowed))
    images = images[np.argsort(labels[images], kind="stable")]
    size = np.bincount(labels[images])
    rank = np.arange(len(images)) - (np.cumsum(size) - size)[labels[images]]
    return np.sort(images[rank < n])


def firing(codes: Codes, images: Int[np.ndarray, " sample"]) -> Bool[np.ndarray, "sample width"]:
    """Say which latents fire on each of some images."""
    row = np.full(codes.n_images, -1)
    row[images] = np.arange(len(images))
    found = np.zeros((len(images), codes.width), bool)
    kept = row[codes.image] >= 0
    found[row[codes.image[kept]], codes.latent[kept]] = True
    return found


def run(
    dictionary: Dictionary,
    world: World,
    model: Model,
    sample: Int[np.ndarray, " sample"],
    questions: Questions,
    batch_size: int,
) -> Iterator[tuple[np.ndarray, Float[Tensor, "runs classes"], Float[np.ndarray, " runs"]]]:
    """Do everything that is asked, batch by batch.

    Yields numbers of runs, the probabilities of the classes, and the length of what was added as a
    share of that of the centred tokens. Blocks up to the layer run once for each image of a batch.
    """
    backbone, (layer, token) = model.backbone, model.place
    changes = Changes(dictionary, questions.sets)

    # Copies of one image may be more than a batch.
    @lru_cache(batch_size)
    def pixels(row: int) -> Tensor:
        return world.pixels(backbone, sample[row : row + 1])[0]

    starts = range(0, len(questions.image), batch_size)
    for start in progress(starts, len(starts), "ablating"):
        runs = np.arange(start, min(start + batch_size, len(questions.image)))
        rows, copied = np.unique(questions.image[runs], return_inverse=True)
        change, lengths = changes.of(copied, questions.set[runs])
        with torch.inference_mode(), changed_layer(backbone, layer, token, change):
            shown = torch.stack([pixels(int(row)) for row in rows])
            found = model.readout.probabilities(model.readout.features(backbone, shown))
        yield runs, found, lengths[0]


class Changes:
    """What sets of latents add to the tokens that a dictionary reads."""

    def __init__(self, dictionary: Dictionary, sets: list[Set]):
        self._dictionary, self._encode = dictionary, encoder_of(dictionary)
        most = max(1, *(len(what.members) for what in sets))
        self._source, self._direction = np.zeros((2, len(sets), most), np.int64)
        self._amount = np.zeros((len(sets), most), np.float32)
        self._known = np.zeros((len(sets), most), bool)
        self._how = np.array([what.how or "" for what in sets])
        for n, what in enumerate(sets):
            for m, (source, direction, amount) in enumerate(what.members):
                self._source[n, m], self._direction[n, m] = source, direction
                # NaN takes away what there is.
                self._amount[n, m] = np.nan if amount is None else amount
                self._known[n, m] = True

    def of(
        self, copied: Int[np.ndarray, " copies"], sets: Int[np.ndarray, " copies"]
    ) -> tuple[Change, list[Float[np.ndarray, " copies"]]]:
        """Return the change that makes copies of images, each by its set.

        And a list that will hold how long what is added is, as a share of the centred tokens.
        """
        lengths: list[np.ndarray] = []

        def change(tokens: Tensor) -> tuple[Tensor, Tensor]:
            x = tokens.float().cpu().numpy()
            added = self.added(x, copied, sets)
            centred = np.linalg.norm((x - self._dictionary.mean).reshape(len(x), -1), axis=1)
            length = np.linalg.norm(added.reshape(len(added), -1), axis=1)
            lengths.append(length / np.maximum(centred[copied], 1e-12))
            moved = torch.from_numpy(added).to(tokens.device, tokens.dtype)
            return torch.from_numpy(copied).to(tokens.device), moved

        return change, lengths

    def added(
        self,
        x: Float[np.ndarray, "images tokens d"],
        copied: Int[np.ndarray, " copies"],
        sets: Int[np.ndarray, " copies"],
    ) -> Float[np.ndarray, "copies tokens d"]:
        """Return what is added to each copy's tokens, in the units of x."""
        dictionary = self._dictionary
        target = dictionary.normalise(x.reshape(-1, x.shape[2]))
        z = self._encode(target)
        z, target = z.reshape(*x.shape[:2], -1), target.reshape(x.shape)
        there = z[copied[:, None], :, self._source[sets]].transpose(0, 2, 1)
        amount = self._amount[sets][:, None, :]
        rows = dictionary.decoder[self._direction[sets]] * self._known[sets][:, :, None]
        added = np.where(np.isnan(amount), -there, amount) @ rows
        if (shrunk := self._how[sets] == SHRUNK).any():
            added[shrunk] = _shortened(target[copied[shrunk]], added[shrunk])
        if (projected := self._how[sets] == PROJECTED).any():
            own = target[copied[projected]] - dictionary.decoder_bias
            added[projected] = -_along(own, rows[projected])
        return dictionary.unit(x)[copied] * added


def _shortened(
    x: Float[np.ndarray, "copies tokens d"], added: Float[np.ndarray, "copies tokens d"]
) -> Float[np.ndarray, "copies tokens d"]:
    """Return what shortens x by the length of what would be added."""
    length, own = (np.linalg.norm(part, axis=2, keepdims=True) for part in (added, x))
    return -x * length / np.maximum(own, 1e-12)


def _along(
    x: Float[np.ndarray, "copies tokens d"], rows: Float[np.ndarray, "copies latents d"]
) -> Float[np.ndarray, "copies tokens d"]:
    """Return the part of x in the span of some rows, of which those of zeros count for nothing."""
    gram = rows @ rows.transpose(0, 2, 1) + _RIDGE * np.eye(rows.shape[1], dtype=rows.dtype)
    coefficient = np.linalg.solve(gram, rows @ x.transpose(0, 2, 1))
    return coefficient.transpose(0, 2, 1) @ rows
