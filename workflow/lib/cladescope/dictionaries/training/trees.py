"""Trees of clusters of the activations: k-means by cosine, merged bottom-up, small ones left out.

Each tree sees the rows through a whitening of its own, u = Σ^(−p/2) x' / ‖·‖ with Σ the covariance
and p from `WHITENING`: as they are, the widest directions, which are the coarsest distinctions and
what pictures share, decide everything; wholly white, noise does. Centres are merged by average
linkage of 1 − cosine. Of the merges of at most half of the rows the largest become nodes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import linkage

from cladescope.dictionaries.paths import Paths
from cladescope.dictionaries.training.clustering import clusters, search, sums_of

WHITENING = (0.5, 0.0)
"""p of the first tree, the second, and so on in turn; measured, docs/dictionaries.md."""
LEAST_VARIANCE = 0.01
"""Directions of less than this share of the mean variance are scaled as if they had it."""
MOST_LEAVES = 4096
"""Of a tree: the distances of all pairs are in memory."""
ROWS_PER_LEAF = 4
"""At least, on average."""


class Forest(NamedTuple):
    """Nodes tree by tree, in each from coarse to fine."""

    paths: Paths
    means: Float[np.ndarray, "nodes d"]
    """Of the rows under each node."""
    shares: Float[np.ndarray, " nodes"]
    """Of the rows that are under each node; their sum is the mean length of a row's paths."""


def grow(
    x: Float[np.ndarray, "rows d"], n_trees: int, nodes: int, leaves: int, seed: int
) -> Forest:
    """Return a forest of the normalised rows x'.

    Parameters
    ----------
    nodes, leaves
        Of each tree, at most: `MOST_LEAVES` and `ROWS_PER_LEAF` bound the leaves as well.

    Raises
    ------
    ValueError
        If there are too few rows for a tree.
    """
    leaves = min(leaves, MOST_LEAVES, len(x) // ROWS_PER_LEAF)
    if leaves < 4:
        raise ValueError(f"a tree needs {4 * ROWS_PER_LEAF} rows or more, there are {len(x)}")
    variance, axes = np.linalg.eigh(np.cov(x.T, dtype=np.float64))
    variance = np.maximum(variance, LEAST_VARIANCE * variance.mean())
    trees, means, shares = [], [], []
    for number in range(n_trees):
        power = WHITENING[number % len(WHITENING)]
        whitening = (axes * variance ** (-power / 2)) @ axes.T
        rows = _unit(x @ whitening.astype(np.float32))
        random = np.random.default_rng([seed, 2, number])
        centres = clusters(rows, leaves, random, place=_unit)
        sums, size = sums_of(x.astype(np.float64), search(rows)(centres), leaves)
        leaf, parent = largest_merges(merge(centres), size, nodes)
        router = (centres @ whitening).astype(np.float32)
        tree = Paths(router, leaf, parent, np.array([leaves], np.int32))
        under = tree.reached.T.astype(np.float64)
        means.append(under @ np.where(size[:, None] > 0, sums, 0) / (under @ size)[:, None])
        shares.append(under @ size / len(x))
        trees.append(tree)
    return Forest(Paths.joined(trees), np.concatenate(means), np.concatenate(shares))


def merge(centres: Float[np.ndarray, "leaves d"]) -> Int[np.ndarray, " clusters"]:
    """Merge unit centres two by two, by average linkage of 1 − cosine.

    Returns the number of the merge that each cluster goes into: the leaves come first, then the
    merges in their order; −1 for the last, the root.
    """
    n = len(centres)
    distance = 1 - centres.astype(np.float64) @ centres.T
    steps = linkage(np.maximum(distance, 0)[np.triu_indices(n, 1)], "average")
    into = np.full(2 * n - 1, -1)
    for number, parts in enumerate(steps[:, :2].astype(np.int64), n):
        into[parts] = number
    return into


def largest_merges(
    into: Int[np.ndarray, " clusters"], size: Int[np.ndarray, " leaves"], n: int
) -> tuple[Int[np.ndarray, " leaves"], Int[np.ndarray, " nodes"]]:
    """Make nodes of the n largest merges that hold at most half of all rows.

    Parameters
    ----------
    into
        As `merge` returns it.
    size
        Rows of each leaf.

    Returns
    -------
    The node at or next above each leaf, and the node next above each node; −1 for none. Nodes are
    numbered from large to small, so that a parent comes before its children.
    """
    rows = np.concatenate([size, np.zeros(len(size) - 1, size.dtype)])
    for cluster, merged in enumerate(into[:-1]):
        rows[merged] += rows[cluster]
    merges = np.arange(len(size), len(into))
    # Of equal ones the later, which may hold the other.
    order = merges[np.lexsort((-merges, -rows[merges]))]
    kept = order[(rows[order] > 0) & (2 * rows[order] <= rows[-1])][:n]
    at = np.full(len(into) + 1, -1, np.int32)
    at[kept] = np.arange(len(kept))
    above = np.full(len(into), -1, np.int32)
    for cluster in range(len(into) - 2, -1, -1):
        above[cluster] = at[into[cluster]]
        if at[cluster] < 0:
            at[cluster] = above[cluster]
    return at[: len(size)], above[kept]


def _unit(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return the rows at length 1, float32."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
