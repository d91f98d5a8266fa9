"""What pairs of images say about a node: which image has the thing, and how sure a mean is.

The numbers are means over nodes of means over pairs; docs/causes.md says what each contrast is for.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cladescope.names import ACROSS, ADDED, LEAF, OTHER, REMOVED, WITHIN

SHARED = "shared"
SHARED_SMALLER, LEAF_LARGER = "shared_smaller", "leaf_larger"
CONTRASTS = (SHARED, LEAF, OTHER, WITHIN, ACROSS, SHARED_SMALLER, LEAF_LARGER)
"""In the order of tables. `added` and `removed` are two directions of `shared`; the last two are of
the images in which the leaf's own part changes as many pixels as the shared one, or more."""
NORMAL_95 = 1.96


class Contrast(NamedTuple):
    """The pairs of one node that differ in one kind of thing."""

    having: np.ndarray
    """int (n_pairs,): the image that has it."""
    lacking: np.ndarray
    """int (n_pairs,)."""
    weight: np.ndarray
    """float64 (n_pairs,): of each pair in a mean; their sum is 1."""
    cluster: np.ndarray
    """int (n_pairs,): pairs that share an image, by themselves or along others, have one number."""
    pixel_change: np.ndarray
    """float64 (n_pairs,)."""


def clusters_of(pairs: pd.DataFrame) -> np.ndarray:
    """Number the pairs so that those that share an image, directly or along others, are one.

    Parameters
    ----------
    pairs
        With the columns `image` and `counterpart`, ids of images.

    Returns
    -------
    int32 (n_pairs,).

    Examples
    --------
    >>> clusters_of(pd.DataFrame({"image": [0, 1, 5], "counterpart": [1, 2, 6]})).tolist()
    [0, 0, 1]
    """
    ends = pairs[["image", "counterpart"]].to_numpy()
    images, row_of = np.unique(ends, return_inverse=True)
    first, second = row_of.reshape(-1, 2).T
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(images),) * 2)
    component = connected_components(graph, directed=False)[1][first]
    return np.unique(component, return_inverse=True)[1].astype(np.int32)


def contrasts_of(pairs: pd.DataFrame) -> dict[str, Contrast]:
    """Sort one node's pairs by what they contrast; what it has no pair for is absent.

    Parameters
    ----------
    pairs
        Columns `image`, `counterpart` (ids), `change`, `pixel_change` and `cluster`.
    """
    swapped = pairs["change"].eq(REMOVED).to_numpy()
    image, counterpart = pairs["image"].to_numpy(), pairs["counterpart"].to_numpy()
    table = pairs.assign(
        having=np.where(swapped, image, counterpart), lacking=np.where(swapped, counterpart, image)
    )
    by_change = {
        change: table[table["change"].eq(change)] for change in (LEAF, OTHER, WITHIN, ACROSS)
    }
    shared = table[table["change"].isin((ADDED, REMOVED))]
    leaf = by_change[LEAF]
    largest = leaf.groupby("having")["pixel_change"].max()
    smallest = shared.groupby("having")["pixel_change"].min()
    parts = {
        SHARED: shared,
        **by_change,
        SHARED_SMALLER: shared[shared["pixel_change"] <= shared["having"].map(largest)],
        LEAF_LARGER: leaf[leaf["pixel_change"] >= leaf["having"].map(smallest)],
    }
    return {name: _contrast(parts[name]) for name in CONTRASTS if len(parts[name])}


def _contrast(rows: pd.DataFrame) -> Contrast:
    """Weight pairs so that both directions count the same, however many there are of each."""
    size = rows.groupby("change")["change"].transform("size").to_numpy(float)
    weight = 1 / (size * rows["change"].nunique())
    names = ("having", "lacking", "cluster", "pixel_change")
    having, lacking, cluster, pixel_change = (rows[name].to_numpy() for name in names)
    return Contrast(having, lacking, weight, cluster, pixel_change)


class Sample(NamedTuple):
    """Values of pairs of several nodes."""

    value: np.ndarray
    """float64 (n,), from −1 to 1."""
    weight: np.ndarray
    """float64 (n,): those of a node sum to 1."""
    node: np.ndarray
    """int (n,)."""
    cluster: np.ndarray
    """int (n,)."""


def mean_with_margin(sample: Sample) -> tuple[float, float]:
    """Return the mean over nodes of the mean over pairs, and half the width of its 95% interval.

    With M nodes, m_v the mean of node v and n_v its clusters, the variance is
    Σ_g (Σ_{i in g} w_i (x_i − m_v(i)) / M)² + Σ_v (1 + 2 m_v²) / (M (n_v + 2))²: clusters g are
    drawn, nodes are not. The second sum is what four pairs of weight ½, valued 1, −1, 0 and 0, add
    for each node (Agresti & Min 2005, Simple improved confidence intervals for comparing matched
    proportions), so that a few pairs that agree are not taken for certainty. The mean is left as
    it is. A test simulates that the interval covers.

    Examples
    --------
    Two pairs of one node, which agree: √(3 / 4²) · 1.96.

    >>> one = np.ones(2)
    >>> mean, margin = mean_with_margin(Sample(one, one / 2, np.zeros(2, int), np.arange(2)))
    >>> mean, round(margin, 3)
    (1.0, 0.849)
    """
    nodes, node = np.unique(sample.node, return_inverse=True)
    means = np.bincount(node, sample.weight * sample.value)
    _, cluster = np.unique(sample.cluster, return_inverse=True)
    influence = np.bincount(cluster, sample.weight * (sample.value - means[node])) / len(nodes)
    met = np.unique(np.stack([node, cluster]), axis=1)[0]
    n_clusters = np.bincount(met, minlength=len(nodes))
    further = (1 + 2 * means**2) / (len(nodes) * (n_clusters + 2)) ** 2
    variance = np.square(influence).sum() + further.sum()
    return float(means.mean()), float(NORMAL_95 * np.sqrt(variance))
