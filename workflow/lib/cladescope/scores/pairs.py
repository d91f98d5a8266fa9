"""Scores of pairs of images of a top set: how near their classes are in the taxonomy."""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.halves import ClassCounts
from cladescope.taxonomy.tree import PairTables


class PairScores(NamedTuple):
    """Means over the pairs of images of each latent's top set; NaN where there is no such pair."""

    pair_lch: np.ndarray
    """float64 (n_latents,): height of the LCH, over pairs of images of different classes."""
    pair_lch_contracted: np.ndarray
    """float64 (n_latents,): the same in contracted height."""
    monosemanticity: np.ndarray
    """float64 (n_latents,): Lin's similarity over all pairs; 1 if they have one class."""


def score_pairs(top: ClassCounts, tables: PairTables, place: np.ndarray) -> PairScores:
    """Average over pairs of images, with class c at the place of class `place[c]` in the tree.

    pair-LCH(j) = Σ_{a<b} n_a n_b height(LCH(a, b)) / Σ_{a<b} n_a n_b over classes a, b of the top
    set, of which n_a images have class a. Monosemanticity is the mean similarity of two images, as
    in Pach et al. 2025 (arXiv 2504.02821), with the taxonomy in place of an image encoder.
    """
    n_pairs = image_pairs(top)
    of_one_class = np.add.reduceat(
        np.append(top.images.astype(np.int64) * (top.images - 1) // 2, 0), top.start[:-1]
    )
    of_one_class[np.diff(top.start) == 0] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return PairScores(
            pair_sums(top, tables.height, place) / n_pairs,
            pair_sums(top, tables.height_contracted, place) / n_pairs,
            (of_one_class + pair_sums(top, tables.similarity, place)) / (of_one_class + n_pairs),
        )


def image_pairs(top: ClassCounts) -> np.ndarray:
    """float64 (n_latents,): pairs of images of different classes in each top set."""
    n_classes = int(top.label.max(initial=0)) + 1
    ones = np.ones((n_classes, n_classes), np.uint8)
    return pair_sums(top, ones, np.arange(n_classes))


def pair_sums(top: ClassCounts, table: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Sum a table's entry over the pairs of images of different classes of each latent.

    Parameters
    ----------
    top
        Classes of the top sets.
    table
        Real (n_classes, n_classes), symmetric.
    place
        int64 (n_classes,): class c has the row and column place[c].

    Returns
    -------
    float64 (n_latents,), exact for whole numbers.
    """
    return _pair_sums(*top, table, place)


@compiled
def _pair_sums(
    start: np.ndarray, label: np.ndarray, count: np.ndarray, table: np.ndarray, place: np.ndarray
) -> np.ndarray:
    result = np.zeros(len(start) - 1)
    for j in range(len(result)):
        total = 0.0
        for a in range(start[j], start[j + 1]):
            row = table[place[label[a]]]
            part = 0.0
            for b in range(a + 1, start[j + 1]):
                part += count[b] * row[place[label[b]]]
            total += count[a] * part
        result[j] = total
    return result
