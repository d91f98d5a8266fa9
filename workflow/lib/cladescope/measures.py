"""The scores of a latent as functions of its class counts.

Everything that `scores.py` reports is a function of how many images of each class are among the
ones on which a latent fires most: n_jc for its top set, and for each rank cut-off. So a null draw
that moves the classes over the tree is a change of the ancestor matrix, and no image is looked at
again. This module holds those functions, `nulls.py` the draws and `scores.py` the tables.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cladescope.class_counts import ClassCounts, ClassSets
from cladescope.taxonomy import Taxonomy, images_needed


@dataclass(frozen=True, eq=False)
class Tree:
    """The contracted taxonomy, as far as it depends on where the classes sit.

    An inner node has at least two classes. A class has a leaf unless other classes lie under it.
    """

    node: np.ndarray
    """int32 (n_inner,): index of each inner node in the taxonomy, in its order; with the root."""
    ancestors: np.ndarray
    """float32 (n_classes, n_inner): 1 where the inner node covers the class."""
    n_leaves: np.ndarray
    """int32 (n_inner,): classes under each inner node."""
    below_root: np.ndarray
    """bool (n_inner,): all but the root."""
    leaf: np.ndarray
    """int32 (n_classes,): taxonomy index of the class's leaf, -1 if it has none."""
    heights: np.ndarray
    """int32 (2, n_inner): height of each inner node, raw and contracted."""

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> "Tree":
        """Take the arrays of a taxonomy; ValueError if it has fewer than two classes."""
        if len(taxonomy.leaves) < 2:
            raise ValueError("a taxonomy of fewer than two classes has no inner node to score")
        n_leaves = taxonomy.n_leaves
        inner = taxonomy.contracted[n_leaves[taxonomy.contracted] > 1]
        leaf = np.full(len(taxonomy.leaves), -1, np.int32)
        for node in taxonomy.contracted[n_leaves[taxonomy.contracted] == 1]:
            leaf[taxonomy.ancestors[:, node].argmax()] = node
        return cls(
            node=inner,
            ancestors=taxonomy.ancestors[:, inner].astype(np.float32),
            n_leaves=n_leaves[inner],
            below_root=inner != taxonomy.root,
            leaf=leaf,
            heights=np.stack([taxonomy.height[inner], taxonomy.height_contracted[inner]]),
        )

    def permuted(self, permutation: np.ndarray) -> "Tree":
        """Put class c where class `permutation[c]` was."""
        return replace(self, ancestors=self.ancestors[permutation])

    def pair_heights(self) -> np.ndarray:
        """int16 (2, n_classes, n_classes): height of the LCH of two different classes.

        Raw and contracted; 0 on the diagonal, which no score uses.
        """
        covers = self.ancestors > 0
        heights = np.zeros((2, len(covers), len(covers)), np.int16)
        for c in range(len(covers)):
            heights[:, c] = self.heights[:, (covers & covers[c]).argmax(1)]
            heights[:, c, c] = 0
        return heights


class Located(NamedTuple):
    """The lowest common hypernym of each latent's top set: a leaf, or else an inner node."""

    inner: np.ndarray
    """int64 (n_latents,): the deepest inner node that covers enough of the top set."""
    leaf_class: np.ndarray
    """int64 (n_latents,): the class whose leaf covers enough of the top set, -1 if none does."""


def locate(top: np.ndarray, tree: Tree, taus: tuple[float, ...]) -> list[Located]:
    """Find LCH_τ for each τ: the deepest node that covers that share of the top set.

    Every τ is above one half, so that a leaf that covers enough lies under all nodes that do.
    """
    covered, total = top @ tree.ancestors, top.sum(1)
    modal, most = top.argmax(1), top.max(1)
    found = []
    for tau in taus:
        needed = images_needed(total, tau)
        is_leaf = (most >= needed) & (tree.leaf[modal] >= 0)
        # float32, as the product: mixed types would be compared far more slowly.
        enough = covered >= needed.astype(np.float32)[:, None]
        found.append(Located(enough.argmax(1), np.where(is_leaf, modal, -1)))
    return found


def coverage(on: ClassSets, place: Located, tree: Tree) -> np.ndarray:
    """Ontological Coverage of a latent: |{c ∈ L(v): on_jc}| / |L(v)|, v its LCH.

    Parameters
    ----------
    on
        The classes that each latent counts as on for.
    place, tree
        The latents' LCH, and the tree that they are in.

    Returns
    -------
    float64 (n_latents,), 0 to 1. Source: arXiv 2505.15970, Ontological Coverage.
    """
    under = tree.ancestors[on.label, place.inner[on.latent]]
    n_on = np.bincount(on.latent, under, minlength=len(place.inner))
    share = n_on / tree.n_leaves[place.inner]
    single = place.leaf_class >= 0
    share[single] = on.member[single, place.leaf_class[single]]
    return share


def mcc(
    true_positive: np.ndarray, cut_size: np.ndarray, node_size: np.ndarray, n_images: float
) -> np.ndarray:
    """Matthews correlation of "image is above the cut-off" and "image is under the node".

    MCC = (n·tp − r·p) / √(r (n − r) p (n − p)), with n images, r above the cut-off, p under the
    node and tp both; 0 where the divisor is 0 (a cut-off or a node with no image, or with all).

    Parameters
    ----------
    true_positive
        Real (n_rows, n_nodes), whole numbers.
    cut_size, node_size
        float64 (n_rows,) and (n_nodes,).
    n_images
        Images of the split.

    Returns
    -------
    float64 (n_rows, n_nodes), −1 to 1.
    """
    scale = np.sqrt(cut_size * (n_images - cut_size))[:, None]
    node_scale = np.sqrt(node_size * (n_images - node_size))
    result = true_positive * np.float64(n_images)
    result -= cut_size[:, None] * node_size
    # A zero divisor comes with a zero numerator, so any divisor gives 0.
    result /= np.where(scale > 0, scale, 1.0)
    result /= np.where(node_scale > 0, node_scale, 1.0)
    return np.clip(result, -1, 1, out=result)  # rounding: 1.0000000000000002


class Alignment(NamedTuple):
    """The MCC of each cut-off row with each node of one kind (leaves, or inner below the root)."""

    mcc: np.ndarray
    """float64 (n_rows, n_nodes)."""
    true_positive: np.ndarray
    """float32 (n_rows, n_nodes): images above the cut-off and under the node."""
    node_size: np.ndarray
    """float64 (n_nodes,): images under the node."""


def align_inner(counts: ClassCounts, tree: Tree) -> Alignment:
    """Align the latents with the inner nodes below the root, in node order."""
    ancestors = tree.ancestors[:, tree.below_root]
    true_positive, node_size = counts.cut @ ancestors, counts.class_size @ ancestors
    values = mcc(true_positive, counts.cut_size, node_size, counts.n_images)
    return Alignment(values, true_positive, node_size)


def align_leaves(counts: ClassCounts, tree: Tree) -> Alignment:
    """Align the latents with the leaves, in the order of the classes that have one."""
    classes = np.flatnonzero(tree.leaf >= 0)
    true_positive, node_size = counts.cut[:, classes], counts.class_size[classes]
    values = mcc(true_positive, counts.cut_size, node_size, counts.n_images)
    return Alignment(values, true_positive, node_size)


def best_per_latent(alignment: Alignment, first_row: np.ndarray) -> np.ndarray:
    """float64 (n_latents,): the largest MCC over nodes and cut-offs; −inf without nodes."""
    return np.maximum.reduceat(alignment.mcc.max(1, initial=-np.inf), first_row)


def measure(
    counts: ClassCounts, tree: Tree, tau: float, inner: Alignment | None = None
) -> dict[str, np.ndarray]:
    """Compute the scores that a null draw repeats, except pair-LCH.

    Parameters
    ----------
    counts, tree
        A block of latents, and where the classes sit.
    tau
        Share of the top set for LCH_τ.
    inner
        `align_inner(counts, tree)`, if it is already known.

    Returns
    -------
    float64 (n_latents,) by the name of the dictionary score that is their mean; and
    `inner_mcc`, float64 (n_inner - 1,): the largest MCC of any latent for each inner node.
    """
    exact, tolerant = locate(counts.top, tree, (1.0, tau))
    coverage_top = coverage(counts.frequent, tolerant, tree)
    inner = inner or align_inner(counts, tree)
    return {
        **_heights("lch", exact, tree),
        **_heights("lch_tau", tolerant, tree),
        "coverage": coverage(counts.active, exact, tree),
        "coverage_tau": coverage(counts.active, tolerant, tree),
        "coverage_top": coverage_top,
        "coherent_share": is_coherent(coverage_top, tolerant, tree).astype(np.float64),
        "best_internal_mcc": best_per_latent(inner, counts.first_row),
        "inner_mcc": inner.mcc.max(0, initial=-np.inf),
    }


def _heights(name: str, place: Located, tree: Tree) -> dict[str, np.ndarray]:
    raw, contracted = np.where(place.leaf_class >= 0, 0, tree.heights[:, place.inner])
    return {
        f"{name}_height": raw.astype(np.float64),
        f"{name}_height_contracted": contracted.astype(np.float64),
    }


def is_internal(place: Located, tree: Tree) -> np.ndarray:
    """bool (n_latents,): the LCH has two classes or more and is not the root."""
    return (place.leaf_class < 0) & tree.below_root[place.inner]


def is_coherent(coverage_top: np.ndarray, place: Located, tree: Tree) -> np.ndarray:
    """bool (n_latents,): LCH_τ internal, half of its classes in the top set, and two at least."""
    two = coverage_top * tree.n_leaves[place.inner] >= 1.5
    return is_internal(place, tree) & two & (coverage_top >= 0.5)


class BestNode(NamedTuple):
    """The node of one kind with the largest MCC, per latent."""

    mcc: np.ndarray
    """float64 (n_latents,): NaN if there is no node of the kind."""
    column: np.ndarray
    """int64 (n_latents,): position among the nodes of the kind."""
    cutoff: np.ndarray
    """float64 (n_latents,): images above the best cut-off."""
    precision: np.ndarray
    """float64 (n_latents,): share of those images that are under the node."""
    recall: np.ndarray
    """float64 (n_latents,): share of the node's images above the cut-off; NaN if it has none."""


def best_nodes(alignment: Alignment, counts: ClassCounts) -> BestNode:
    """Choose the best node and cut-off (ties: the smallest cut-off, then the first node)."""
    if not alignment.mcc.shape[1]:
        missing = np.full(len(counts.first_row), np.nan)
        return BestNode(missing, np.zeros(len(missing), np.int64), missing, missing, missing)
    value = np.maximum.reduceat(alignment.mcc.max(1), counts.first_row)
    n_rows = len(alignment.mcc)
    rows = np.diff(np.append(counts.first_row, n_rows))
    is_best = alignment.mcc.max(1) == np.repeat(value, rows)
    row = np.minimum.reduceat(np.where(is_best, np.arange(n_rows), n_rows), counts.first_row)
    column = alignment.mcc[row].argmax(1)
    hits, size = alignment.true_positive[row, column], alignment.node_size[column]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(size > 0, hits / size, np.nan)
    return BestNode(value, column, counts.cut_size[row], hits / counts.cut_size[row], recall)


def taxonomy_node(place: Located, tree: Tree) -> np.ndarray:
    """int64 (n_latents,): index in the taxonomy of the node that `place` is."""
    leaf = tree.leaf[np.maximum(place.leaf_class, 0)]
    return np.where(place.leaf_class >= 0, leaf, tree.node[place.inner]).astype(np.int64)
