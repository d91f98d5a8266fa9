"""The class hierarchy of a dataset: every path from its classes to the root.

The taxonomy is a directed acyclic graph, not a tree: 304 of ImageNet-1k's 1000 classes reach
WordNet's `entity` along several paths, and all of them count. Scores need it as arrays only, so
this module turns it into a class x node ancestor matrix. It comes from WordNet (`wordnet.py`) or
from a table that the user gives (`table.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.files import reading, write_aside


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """A class hierarchy as arrays, one entry per node.

    Nodes are ordered by decreasing depth; ties by fewer classes, then by the lower id (for WordNet:
    the lower offset). The first node in this order that covers a set of images is therefore their
    lowest common hypernym, and a node comes before all of its parents.

    "Contracted" means that nodes with the same set of classes count as one, represented by the
    deepest of them: a chain in which each node has one child is one step.

    A class may be an ancestor of another class. It then counts as one of the classes under its own
    node, and its height is that of the node, not 0.
    """

    leaves: tuple[str, ...]
    """Class ids in the order of the labels."""
    nodes: tuple[str, ...]
    """Node ids (wnids, such as n02084071)."""
    names: tuple[str, ...]
    """Names of the nodes (synset names, such as dog.n.01)."""
    depth: np.ndarray
    """int32 (n_nodes,): edges of the longest path from the root; NLTK's `max_depth`."""
    height: np.ndarray
    """int32 (n_nodes,): edges of the longest downward path to a class; 0 for a leaf class."""
    height_contracted: np.ndarray
    """int32 (n_nodes,): `height` in the contracted graph."""
    representative: np.ndarray
    """int32 (n_nodes,): the deepest node with the same classes (the node itself if contracted)."""
    ancestors: np.ndarray
    """bool (n_leaves, n_nodes): the node is the class or one of its hypernyms."""
    parents: tuple[tuple[int, ...], ...]
    """Nodes directly above each node."""

    @property
    def n_leaves(self) -> np.ndarray:
        """int32 (n_nodes,): |L(v)|, the number of classes at or under each node."""
        return self.ancestors.sum(0, dtype=np.int32)

    @property
    def ic(self) -> np.ndarray:
        """float64 (n_nodes,): information content −log2(|L(v)| / |C|) in bits, 0 for the root."""
        return np.log2(len(self.leaves)) - np.log2(self.n_leaves)

    @cached_property
    def contracted(self) -> np.ndarray:
        """int32 (n_contracted,): indices of the contracted nodes, in node order."""
        return np.flatnonzero(self.representative == np.arange(len(self.nodes))).astype(np.int32)

    @property
    def root(self) -> int:
        """The contracted root: the deepest node that covers every class."""
        return int(np.flatnonzero(self.n_leaves == len(self.leaves))[0])

    def save(self, path: str | Path) -> None:
        """Write one row per node (Parquet); the same taxonomy gives the same bytes.

        Columns: `wnid`, `name`; `label` (int32, the class at this node, null if none); `depth`,
        `height`, `height_contracted`, `n_leaves`, `representative` (int32); `ic` (float64, bits);
        `parents` (list of int32, rows of this table); `leaves` (list of int32, labels of the
        classes at or under the node: the ancestor matrix).
        """
        label_of = {wnid: label for label, wnid in enumerate(self.leaves)}
        columns = {
            "wnid": pa.array(self.nodes, pa.string()),
            "name": pa.array(self.names, pa.string()),
            "label": pa.array([label_of.get(node) for node in self.nodes], pa.int32()),
            "depth": pa.array(self.depth, pa.int32()),
            "height": pa.array(self.height, pa.int32()),
            "height_contracted": pa.array(self.height_contracted, pa.int32()),
            "n_leaves": pa.array(self.n_leaves, pa.int32()),
            "ic": pa.array(self.ic, pa.float64()),
            "representative": pa.array(self.representative, pa.int32()),
            "parents": pa.array([list(p) for p in self.parents], pa.list_(pa.int32())),
            "leaves": pa.array(
                [np.flatnonzero(column) for column in self.ancestors.T], pa.list_(pa.int32())
            ),
        }
        with write_aside(path) as aside:
            pq.write_table(pa.table(columns), aside)

    @classmethod
    def load(cls, path: str | Path) -> "Taxonomy":
        """Read what `save` wrote; ValueError names the file if it is not a taxonomy."""
        with reading(path):
            table = pq.read_table(path)
        if missing := {"wnid", "label", "parents", "leaves"} - set(table.column_names):
            raise ValueError(
                f"{path} is not a taxonomy table (no column {', '.join(sorted(missing))}); "
                "delete it and rerun"
            )
        with reading(path):
            nodes = tuple(table["wnid"].to_pylist())
            label = table["label"].to_pylist()
            by_label = {label: node for node, label in zip(nodes, label, strict=True)}
            leaves = tuple(by_label[i] for i in range(sum(x is not None for x in label)))
            ancestors = np.zeros((len(leaves), len(nodes)), bool)
            for node, classes in enumerate(table["leaves"].to_pylist()):
                ancestors[classes, node] = True
            return cls(
                leaves=leaves,
                nodes=nodes,
                names=tuple(table["name"].to_pylist()),
                depth=table["depth"].to_numpy(),
                height=table["height"].to_numpy(),
                height_contracted=table["height_contracted"].to_numpy(),
                representative=table["representative"].to_numpy(),
                ancestors=ancestors,
                parents=tuple(tuple(p) for p in table["parents"].to_pylist()),
            )


def taxonomy_from_parents(
    leaves: Sequence[str],
    parents: Mapping[str, Sequence[str]],
    names: Mapping[str, str] | None = None,
) -> Taxonomy:
    """Build a taxonomy from each node's parents.

    Parameters
    ----------
    leaves
        Distinct class ids in the order of the labels.
    parents
        For every class and every node above one, the nodes directly above it; none for the root.
        Nodes that have no class under them are left out.
    names
        Names of the nodes; the ids by default.

    Raises
    ------
    ValueError
        If a node is not in `parents`, the graph has a cycle, or there is not exactly one root: one
        error that lists all such nodes.
    """
    depth = _longest_depth(leaves, parents)
    below: dict[str, set[int]] = {node: set() for node in depth}
    for label, leaf in enumerate(leaves):
        below[leaf].add(label)
    # Deepest first: a child lies deeper than each of its parents, so it is complete before them.
    for node in sorted(depth, key=lambda n: -depth[n]):
        for parent in parents[node]:
            below[parent] |= below[node]
    nodes = sorted(depth, key=lambda n: (-depth[n], len(below[n]), n))
    index = {node: i for i, node in enumerate(nodes)}
    above = tuple(tuple(sorted({index[p] for p in parents[node]})) for node in nodes)

    height = np.zeros(len(nodes), np.int32)
    for i, upward in enumerate(above):
        for j in upward:
            height[j] = max(height[j], height[i] + 1)

    deepest: dict[frozenset[int], int] = {}
    for i, node in enumerate(nodes):
        deepest.setdefault(frozenset(below[node]), i)
    representative = np.array([deepest[frozenset(below[node])] for node in nodes], np.int32)
    # Fewest classes first: an edge of the contracted graph leads to strictly more classes.
    contracted = np.zeros(len(nodes), np.int32)
    for i in sorted(range(len(nodes)), key=lambda i: len(below[nodes[i]])):
        for j in above[i]:
            lower, upper = representative[i], representative[j]
            if lower != upper:
                contracted[upper] = max(contracted[upper], contracted[lower] + 1)

    ancestors = np.zeros((len(leaves), len(nodes)), bool)
    for i, node in enumerate(nodes):
        ancestors[sorted(below[node]), i] = True
    return Taxonomy(
        leaves=tuple(leaves),
        nodes=tuple(nodes),
        names=tuple((names or {}).get(node, node) for node in nodes),
        depth=np.array([depth[node] for node in nodes], np.int32),
        height=height,
        height_contracted=contracted[representative],
        representative=representative,
        ancestors=ancestors,
        parents=above,
    )


def _longest_depth(leaves: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the longest distance from the root of every node at or above a class.

    Raises a ValueError that lists every reason why the graph is not a taxonomy.
    """
    reached = set(leaves)
    queue = list(leaves)
    while queue:
        above = [parent for parent in parents.get(queue.pop(), ()) if parent not in reached]
        reached.update(above)
        queue.extend(above)
    problems = []
    if unknown := sorted(reached - parents.keys()):
        problems.append(f"no list of parents for {', '.join(map(repr, unknown))}")
    depth: dict[str, int] = {}
    children: dict[str, list[str]] = {node: [] for node in reached}
    waiting = {}
    for node in reached & parents.keys():
        waiting[node] = len(set(parents[node]))
        for parent in set(parents[node]):
            children[parent].append(node)
    roots = sorted(node for node, n in waiting.items() if not n)
    ready = list(roots)
    while ready:
        node = ready.pop()
        depth[node] = 1 + max((depth[parent] for parent in parents[node]), default=-1)
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    if cyclic := _on_cycles({node for node, n in waiting.items() if n}, parents):
        problems.append(f"a cycle, or several, through {', '.join(map(repr, cyclic))}")
    if len(roots) > 1 or (not roots and not problems):
        listed = ", ".join(map(repr, roots))
        problems.append(f"a taxonomy has one root, not {len(roots)}: {listed}")
    if problems:
        raise ValueError("; ".join(problems))
    return depth


def _on_cycles(nodes: set[str], parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the nodes on cycles, among the nodes without a depth.

    Nodes below a cycle have no depth either, but none of the others lies below them.
    """
    left = set(nodes)
    while True:
        below = {parent for node in left for parent in parents[node]}
        if left <= below:
            return sorted(left)
        left &= below
