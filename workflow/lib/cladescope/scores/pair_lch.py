"""Lowest common hypernyms of the pairs of images of top sets, and how alike their classes are."""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.counts import ClassCounts
from cladescope.taxonomy.tree import PairTables


class PairHeights(NamedTuple):
    """Means over the pairs of images of each latent's top set; NaN where there is no such pair."""

    pair_lch: np.ndarray
    """float64 (n_latents,): height of the LCH, over pairs of images of different classes."""
    pair_lch_contracted: np.ndarray
    """float64 (n_latents,): the same in contracted height."""
    monosemanticity: np.ndarray
    """float64 (n_latents,): Lin's similarity over all pairs; 1 if they have one class."""


def pair_heights(top: ClassCounts, tables: PairTables) -> PairHeights:
    """Average over the pairs of images of each latent's top set.

    pair-LCH(j) = Σ_{a<b} n_a n_b height(LCH(a, b)) / Σ_{a<b} n_a n_b over classes a, b of the top
    set, of which n_a images have class a. Monosemanticity is the mean similarity of two images, as
    in Pach et al. 2025 (arXiv 2504.02821), with the taxonomy in place of an image encoder.

    See Also
    --------
    cladescope.scores.pair_null.PairNull : the same under permuted leaves, with p- and q-values.

    Examples
    --------
    Classes a, b lie under p, and c, d under q. Three images are of a and one of b: of six pairs
    three meet at p, at height 1, with Lin's similarity 2·1 / (2 + 2); the other three are of one
    class.

    >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
    >>> from cladescope.taxonomy.tree import Tree
    >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]}
    >>> taxonomy = taxonomy_from_parents([*"abcd"], parents)
    >>> tree = Tree.of(taxonomy)
    >>> top = ClassCounts(np.array([0, 2]), np.array([0, 1]), np.array([3, 1]))
    >>> [float(values[0]) for values in pair_heights(top, tree.pair_tables())]
    [1.0, 1.0, 0.75]
    """
    n_pairs, of_one_class = image_pairs(top)
    height, contracted, similarity = _pair_sums(top, *tables)
    with np.errstate(invalid="ignore", divide="ignore"):
        return PairHeights(
            height / n_pairs,
            contracted / n_pairs,
            (of_one_class + similarity) / (of_one_class + n_pairs),
        )


def image_pairs(top: ClassCounts) -> tuple[np.ndarray, np.ndarray]:
    """Count the pairs of images in each top set: of different classes, and of one.

    Returns
    -------
    Two float64 (n_latents,), whole numbers.

    Examples
    --------
    >>> top = ClassCounts(np.array([0, 2]), np.array([0, 1]), np.array([3, 1]))
    >>> [pairs.tolist() for pairs in image_pairs(top)]
    [[3.0], [3.0]]
    """
    latent = np.repeat(np.arange(len(top.start) - 1), np.diff(top.start))
    n_images, squares = (
        np.bincount(latent, top.images.astype(np.float64) ** power, minlength=len(top.start) - 1)
        for power in (1, 2)
    )
    return (n_images**2 - squares) / 2, (squares - n_images) / 2


@compiled
def _pair_sums(
    top: ClassCounts, height: np.ndarray, contracted: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum the tables' entries over the pairs of images of different classes of each latent."""
    start, label, count = top
    n = len(start) - 1
    heights, contracted_heights, similarities = np.zeros((3, n))
    for j in range(n):
        sum_h, sum_c, sum_s = 0, 0, 0.0
        for a in range(start[j], start[j + 1]):
            c, part_h, part_c, part_s = label[a], 0, 0, 0.0
            for b in range(a + 1, start[j + 1]):
                part_h += count[b] * height[c, label[b]]
                part_c += count[b] * contracted[c, label[b]]
                part_s += count[b] * similarity[c, label[b]]
            sum_h += count[a] * part_h
            sum_c += count[a] * part_c
            sum_s += count[a] * part_s
        heights[j], contracted_heights[j], similarities[j] = sum_h, sum_c, sum_s
    return heights, contracted_heights, similarities
