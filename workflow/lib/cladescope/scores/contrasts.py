"""What pairs of images are about: which of the two has the thing, and how sure a mean over them is.

A number is a mean over nodes of means over pairs; docs/causes.md says what each contrast is for.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cladescope.names import ACROSS, ADDED, LEAF, NORMAL_95, OTHER, REMOVED, WITHIN

SHARED = "shared"
OVER_LEAF, OVER_LARGER = "shared_over_leaf", "shared_over_larger"
CONTRASTS = (SHARED, LEAF, OTHER, WITHIN, ACROSS, OVER_LEAF, OVER_LARGER)
"""In the order of tables. `added` and `removed` are two directions of `shared`. The last two are of
an image without the leaf's own part and the same one without the shared part: all of them, and
those of which the own part changes the pixels at least as much."""


class Contrast(NamedTuple):
    """The pairs, of all nodes, that differ in one kind of thing; sorted by node."""

    node: np.ndarray
    """int (n_pairs,): whose latents are tested."""
    having: np.ndarray
    """int (n_pairs,): the image that has the thing."""
    lacking: np.ndarray
    """int (n_pairs,)."""
    cluster: np.ndarray
    """int (n_pairs,): pairs that share an image, by themselves or along others, have one number."""
    pixel_change: np.ndarray
    """float64 (n_pairs,)."""
    weight: np.ndarray
    """float64 (n_pairs,): of each pair in the mean of its node; those of a node sum to 1."""

    def mean(self, values: np.ndarray, n_nodes: int) -> np.ndarray:
        """Average (n_pairs,) values within each node: float64 (n_nodes,), 0 without pairs."""
        return np.bincount(self.node, self.weight * values, n_nodes)

    def n_pairs(self, n_nodes: int) -> np.ndarray:
        """Count the pairs of each node: int (n_nodes,)."""
        return np.bincount(self.node, minlength=n_nodes)

    def margins(self, values: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return half the width of the 95% interval of the mean over each group of nodes.

        With M nodes, m_v the mean of node v, n_v its clusters, r_v² = n_v / (n_v − 1) and v the
        node of pair i, the variance is
        Σ_g (Σ_{i in g} w_i (x_i − m_v) r_v / M)² + Σ_v (1 + 2 m_v²) / (M (n_v + 2))²: clusters g
        are drawn, nodes are not. The second sum is what four pairs of weight ½, valued 1, −1, 0 and
        0, add for each node (Agresti & Min 2005, Simple improved confidence intervals for comparing
        matched proportions), so that a few pairs that agree are not taken for certainty. The mean
        is left as it is. A test simulates that the interval covers.

        Parameters
        ----------
        values
            float64 (n_pairs,), from −1 to 1.
        groups
            bool (n_groups, n_nodes).

        Returns
        -------
        float64 (n_groups,); NaN for a group without pairs.

        Examples
        --------
        Two pairs of one node, which agree: √(3 / 4²) · 1.96.

        >>> node, image, one = np.zeros(2, int), np.arange(2), np.ones(2)
        >>> contrast = Contrast(node, image, image + 2, image, one, one / 2)
        >>> contrast.margins(one, np.ones((1, 1), bool)).round(3).tolist()
        [0.849]
        """
        n_nodes = groups.shape[1]
        means, known = self.mean(values, n_nodes), self.n_pairs(n_nodes) > 0
        met, row_of = np.unique(np.stack([self.node, self.cluster]), axis=1, return_inverse=True)
        n_clusters = np.bincount(met[0], minlength=n_nodes)
        influence = np.bincount(row_of.ravel(), self.weight * (values - means[self.node]))
        influence *= np.sqrt(n_clusters / np.maximum(n_clusters - 1, 1))[met[0]]
        further = (1 + 2 * means**2) / (n_clusters + 2) ** 2
        margins = np.full(len(groups), np.nan)
        for number, group in enumerate(groups & known):
            if group.any():
                drawn = np.bincount(met[1], influence * group[met[0]])
                variance = np.square(drawn).sum() + further[group].sum()
                margins[number] = NORMAL_95 * np.sqrt(variance) / group.sum()
        return margins


class Contrasts(NamedTuple):
    """A table of pairs, by what they contrast."""

    wnids: list[str]
    """The nodes, sorted."""
    by_name: dict[str, Contrast]
    """Those of `CONTRASTS` that there are pairs of."""

    @classmethod
    def of(cls, pairs: pd.DataFrame) -> "Contrasts":
        """Sort pairs by what they contrast.

        Parameters
        ----------
        pairs
            What `index_pairs` returns.
        """
        wnids, node = np.unique(pairs["node"].to_numpy(str), return_inverse=True)
        swapped = pairs["change"].eq(REMOVED)
        table = pairs.assign(
            node=node,
            cluster=clusters_of(pairs),
            having=pairs["image"].where(swapped, pairs["counterpart"]),
            lacking=pairs["counterpart"].where(swapped, pairs["image"]),
        )
        of_change = dict([*table.groupby("change")])
        parts = {
            name: of_change[name] for name in (LEAF, OTHER, WITHIN, ACROSS) if name in of_change
        }
        shared = table[table["change"].isin((ADDED, REMOVED))]
        parts[SHARED] = shared
        if LEAF in parts:
            both = shared.merge(parts[LEAF], on=["node", "having"], suffixes=("", "_leaf"))
            # Of the two images that lack something, the one without the own part has the shared.
            over = both.assign(
                having=both["lacking_leaf"],
                pixel_change=both["pixel_change"] - both["pixel_change_leaf"],
            )
            parts |= {OVER_LEAF: over, OVER_LARGER: over[over["pixel_change"] <= 0]}
        kept = {name: parts[name] for name in CONTRASTS if len(parts.get(name, ()))}
        return cls(wnids.tolist(), {name: _contrast(rows) for name, rows in kept.items()})


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


def _contrast(rows: pd.DataFrame) -> Contrast:
    """Weight pairs so that both directions count the same, however many there are of each."""
    rows = rows.sort_values("node", kind="stable")
    size = rows.groupby(["node", "change"])["change"].transform("size")
    directions = rows.groupby("node")["change"].transform("nunique")
    columns = {name: rows[name].to_numpy() for name in Contrast._fields[:-1]}
    return Contrast(**columns, weight=(1 / (size * directions)).to_numpy(float))
