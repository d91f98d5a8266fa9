"""The contracted taxonomy as the arrays that scoring loops over."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from cladescope.taxonomy.taxonomy import Taxonomy

LEAF, INTERNAL, ROOT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Tree:
    """The contracted nodes, in the taxonomy's order: a node comes before all of its hypernyms.

    A leaf has one class, the root all of them, an internal node is neither. A class has a leaf
    unless other classes lie under it.
    """

    taxonomy: Taxonomy
    node: np.ndarray
    """int32 (n_nodes,): index of each node in the taxonomy."""
    covers: np.ndarray
    """bool (n_classes, n_nodes): the class is at or under the node."""
    kind: np.ndarray
    """int8 (n_nodes,): LEAF, INTERNAL or ROOT."""
    leaf: np.ndarray
    """int32 (n_classes,): the class's leaf, -1 if it has none."""
    height: np.ndarray
    """int32 (n_nodes,)."""
    height_contracted: np.ndarray
    """int32 (n_nodes,)."""
    below: np.ndarray
    """bool (n_nodes, n_nodes): the second is a hypernym, near or far, of the first."""
    ic: np.ndarray
    """float64 (n_nodes,): −log2 of the share of the classes that are at or under it, in bits."""

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> "Tree":
        """Take the arrays of a taxonomy; ValueError if it has fewer than two classes."""
        if len(taxonomy.leaves) < 2:
            raise ValueError("a taxonomy of fewer than two classes has no hierarchy to score")
        node = taxonomy.contracted
        covers = taxonomy.ancestors[:, node]
        n_leaves = covers.sum(0)
        kind = np.where(n_leaves == 1, LEAF, INTERNAL).astype(np.int8)
        kind[node == taxonomy.root] = ROOT
        leaf = np.full(len(covers), -1, np.int32)
        for position in np.flatnonzero(kind == LEAF):
            leaf[covers[:, position].argmax()] = position
        return cls(
            taxonomy=taxonomy,
            node=node,
            covers=covers,
            kind=kind,
            leaf=leaf,
            height=taxonomy.height[node],
            height_contracted=taxonomy.height_contracted[node],
            below=_hypernymy(taxonomy, n_leaves),
            ic=taxonomy.ic[node],
        )

    @cached_property
    def wnids(self) -> np.ndarray:
        """str objects (n_nodes,): the nodes' ids."""
        return np.array(self.taxonomy.nodes, object)[self.node]

    @cached_property
    def n_leaves(self) -> np.ndarray:
        """int64 (n_nodes,): classes at or under each node."""
        return self.covers.sum(0)

    @cached_property
    def classes(self) -> np.ndarray:
        """bool (n_nodes, n_classes): `covers`, with the classes of a node side by side."""
        return np.ascontiguousarray(self.covers.T)

    @cached_property
    def _covers_real(self) -> np.ndarray:
        return self.covers.astype(np.float64)

    @cached_property
    def internal(self) -> np.ndarray:
        """int64 (n_internal,): positions of the internal nodes."""
        return np.flatnonzero(self.kind == INTERNAL)

    @cached_property
    def upward(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes at or above each class: int64 (n_classes + 1,) starts, int32 positions."""
        return _lists(self.covers)

    @cached_property
    def upward_below_root(self) -> tuple[np.ndarray, np.ndarray]:
        """`upward` without the root."""
        return _lists(self.covers & (self.kind != ROOT))

    @cached_property
    def children(self) -> tuple[np.ndarray, np.ndarray]:
        """Children of each node by `edges`: int64 (n_nodes + 1,) starts, int64 positions."""
        parent, child = self.edges
        return np.searchsorted(parent, np.arange(len(self.node) + 1)), child

    @cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Parents and children, int64 (n_edges,) each: below the root, with no node in between."""
        below = self.below[:, self.kind == INTERNAL]
        between = (self.below[:, self.kind != ROOT].astype(np.float32)) @ (
            self.below[self.kind != ROOT][:, self.kind == INTERNAL].astype(np.float32)
        )
        child, parent = np.nonzero(below & (between == 0))
        order = np.lexsort((child, parent))
        return self.internal[parent[order]], child[order]

    def node_sizes(self, class_size: np.ndarray) -> np.ndarray:
        """float64 (n_nodes,): images under each node, from those of each class."""
        return class_size.astype(np.float64) @ self._covers_real

    def pair_tables(self) -> "PairTables":
        """Height and similarity of the lowest common hypernym of any two classes."""
        n = len(self.covers)
        lowest = np.empty((n, n), np.int64)
        for c in range(n):
            lowest[c] = (self.covers & self.covers[c]).argmax(1)
        ic = self.ic[np.diagonal(lowest)]
        with np.errstate(invalid="ignore"):
            similarity = 2 * self.ic[lowest] / (ic[:, None] + ic)
        return PairTables(
            _small(self.height)[lowest],
            _small(self.height_contracted)[lowest],
            similarity.astype(np.float32),
        )


class PairTables(NamedTuple):
    """What the scores of pairs of images need to know of their classes; symmetric."""

    height: np.ndarray
    """uint8 or uint16 (n_classes, n_classes): of the LCH of two classes."""
    height_contracted: np.ndarray
    """The same in the contracted tree."""
    similarity: np.ndarray
    """float32 (n_classes, n_classes), 0 to 1: Lin's similarity, 2 IC(LCH) / (IC(a) + IC(b)).

    Source: Lin 1998, An information-theoretic definition of similarity.
    """


def _hypernymy(taxonomy: Taxonomy, n_leaves: np.ndarray) -> np.ndarray:
    """Return which contracted node lies above which: bool (n_nodes, n_nodes).

    That a node has all classes of another is not enough: by chance a small dataset's domestic
    animals may all be carnivores.
    """
    position = np.full(len(taxonomy.nodes), -1)
    position[taxonomy.contracted] = np.arange(len(n_leaves))
    position = position[taxonomy.representative]
    parents: list[set[int]] = [set() for _ in n_leaves]
    for node, above in enumerate(taxonomy.parents):
        parents[position[node]] |= {int(position[parent]) for parent in above}
    below = np.zeros((len(n_leaves), len(n_leaves)), bool)
    # A parent has more classes than its child, and is done before it.
    for child in np.argsort(-n_leaves, kind="stable"):
        for parent in parents[child] - {int(child)}:
            below[child] |= below[parent]
            below[child, parent] = True
    return below


def _lists(member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the columns that are true in each row: starts and the end, columns."""
    rows, columns = np.nonzero(member)
    start = np.searchsorted(rows, np.arange(len(member) + 1))
    return start.astype(np.int64), columns.astype(np.int32)


def _small(heights: np.ndarray) -> np.ndarray:
    """Return heights in as few bytes as they need, so that the tables fit the processor's cache."""
    return heights.astype(np.uint8 if heights.max() < 2**8 else np.uint16)
