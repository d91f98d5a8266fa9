"""Targeted probe perturbation (TPP; SAEBench, arXiv 2503.09532): one number for a dictionary.

TPP = mean_i [(A_i − A_i←i) − mean_{j ≠ i} (A_j − A_j←i)], with A_j the accuracy of a linear probe
for class j, and A_j←i after the latents of class i were taken away. No model is run.

As there, a class's latents are those with the largest product of (mean activation on the class
minus mean over all) and (decoder row · probe weight). Probes are the ridge regression of the other
stages; as classes are few among many, accuracy is balanced (mean of the shares right among the
class's images and among the others), the cut halfway between the mean scores of the two.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from cladescope.codes.codes import Codes
from cladescope.codes.linear import Ridge
from cladescope.dictionaries.dictionary import Dictionary

PENALTY = 1e-2


class Tokens(NamedTuple):
    """Raw activations of a layer, one token of an image."""

    x: Float[np.ndarray, "images d"]
    """Of the evaluation split."""
    train: Float[np.ndarray, "train d"]
    """Of a sample of the training split."""
    train_labels: Int[np.ndarray, " train"]


def targeted_perturbation(
    dictionary: Dictionary,
    codes: Codes,
    labels: Int[np.ndarray, " images"],
    parts: tuple[Bool[np.ndarray, " images"], Bool[np.ndarray, " images"]],
    tokens: Tokens,
    sizes: Sequence[int],
) -> dict[str, float]:
    """Return TPP by number of latents of a class.

    Parameters
    ----------
    codes
        Of a dictionary that reads one token of an image.
    parts
        Images that latents and cuts are chosen on, and those that are measured on.
    """
    n_classes = int(labels.max()) + 1
    ridge = Ridge.fit(tokens.train, tokens.train_labels, n_classes, PENALTY)
    scores = ridge.scores(tokens.x.astype(np.float64))
    choose, score = parts
    cut = _cuts(scores[choose], labels[choose], n_classes)
    kept = np.flatnonzero(score)
    truth = labels[kept][:, None] == np.arange(n_classes)
    weights = truth / np.maximum(truth.sum(0), 1) / 2 + ~truth / np.maximum((~truth).sum(0), 1) / 2
    right = (scores[kept] > cut) == truth
    if dictionary.per_token:
        unit = dictionary.unit(tokens.x)[:, 0] / dictionary.scale
        codes = replace(codes, activation=codes.activation * unit[codes.image])
    # What each latent adds to the scores, for every unit of its activation.
    effect = dictionary.scale * dictionary.decoder.astype(np.float64) @ ridge.weight
    ranked = np.argsort(-_lead(codes, labels, choose, n_classes) * effect.T, 1, kind="stable")
    firings = _Firings(codes, kept)
    found = {}
    for size in sizes:
        gaps = []
        for i in range(n_classes):
            rows, z = firings.of(ranked[i, :size])
            now = (scores[kept[rows]] - z @ effect[ranked[i, :size]] > cut) == truth[rows]
            lost = (weights[rows] * (right[rows].astype(int) - now)).sum(0)
            gaps.append(lost[i] - np.delete(lost, i).mean())
        found[str(size)] = float(np.mean(gaps))
    return found


class _Firings:
    """Looks up where latents fire, among some images."""

    def __init__(self, codes: Codes, images: Int[np.ndarray, " kept"]):
        row = np.full(codes.n_images, -1)
        row[images] = np.arange(len(images))
        kept = np.flatnonzero(row[codes.image] >= 0)
        self._order = kept[np.argsort(codes.latent[kept], kind="stable")]
        self._start = np.searchsorted(codes.latent[self._order], np.arange(codes.width + 1))
        self._row, self._activation = row[codes.image], codes.activation

    def of(self, latents: np.ndarray) -> tuple[np.ndarray, Float[np.ndarray, "rows latents"]]:
        """Return the rows of the images that any of the latents fires on, and activations."""
        parts = [self._order[self._start[j] : self._start[j + 1]] for j in latents]
        rows, at = np.unique(self._row[np.concatenate(parts)], return_inverse=True)
        z = np.zeros((len(rows), len(latents)))
        column = np.repeat(np.arange(len(latents)), [len(part) for part in parts])
        z[at, column] = self._activation[np.concatenate(parts)]
        return rows, z


def _cuts(scores: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the middle between the mean scores of a class's images and of the others."""
    size = np.bincount(labels, minlength=n_classes)
    own = np.bincount(labels, scores[np.arange(len(labels)), labels], minlength=n_classes)
    others = (scores.sum(0) - own) / np.maximum(len(labels) - size, 1)
    return (own / np.maximum(size, 1) + others) / 2


def _lead(
    codes: Codes, labels: np.ndarray, choose: np.ndarray, n_classes: int
) -> Float[np.ndarray, "classes width"]:
    """Return the mean activation of each latent on a class, minus that over all images."""
    kept = choose[codes.image]
    cell = labels[codes.image[kept]] * codes.width + codes.latent[kept]
    sums = np.bincount(cell, codes.activation[kept], minlength=n_classes * codes.width)
    sums = sums.reshape(n_classes, codes.width)
    size = np.bincount(labels[choose], minlength=n_classes)
    return sums / np.maximum(size, 1)[:, None] - sums.sum(0) / max(size.sum(), 1)
