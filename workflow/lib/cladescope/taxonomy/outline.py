"""The taxonomy for readers: its nodes by name and wnid, and whether named ones are among them."""

from collections.abc import Iterator, Sequence

import numpy as np

from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree


def classes_under(taxonomy: Taxonomy) -> dict[str, list[str]]:
    """Return the classes at or under each internal node, by its id."""
    tree = Tree.of(taxonomy)
    return {
        tree.wnids[position]: [
            taxonomy.leaves[label] for label in np.flatnonzero(tree.covers[:, position])
        ]
        for position in tree.internal
    }


def check_nodes(taxonomy: Taxonomy, wnids: Sequence[str], where: str = "relevancy.nodes") -> None:
    """Check that the nodes of an option or a table, `where`, are internal nodes.

    Raises
    ------
    ValueError
        Lists those that are not, with the node that stands for each if it has one.
    """
    internal = classes_under(taxonomy)
    faults = []
    for wnid in wnids:
        if wnid in internal:
            continue
        fault = wnid
        if wnid in taxonomy.nodes:
            below = taxonomy.nodes[taxonomy.representative[taxonomy.nodes.index(wnid)]]
            fault += f" (the same classes as {below}: name that)" if below in internal else ""
        faults.append(fault)
    if faults:
        raise ValueError(
            f"{where}: {', '.join(faults)}: not internal nodes of this dataset's taxonomy; "
            "`make tree CONFIG=...` prints those that are"
        )


def outline(taxonomy: Taxonomy) -> Iterator[str]:
    """Yield the contracted nodes as an indented list, each below its parent: name, id, classes.

    A node with several parents stands below each of them; what is under it is listed once.
    """
    tree = Tree.of(taxonomy)
    children: dict[int, list[int]] = {}
    for parent, child in zip(*_edges(tree), strict=True):
        children.setdefault(int(parent), []).append(int(child))
    listed: set[int] = set()
    roots = [position for position, node in enumerate(tree.node) if node == taxonomy.root]
    left = [(position, 0) for position in roots]
    while left:
        position, level = left.pop()
        node = tree.node[position]
        count = tree.n_leaves[position]
        about = f"{count} classes" if count > 1 else "class"
        again = position in listed and bool(children.get(position))
        line = f"{'  ' * level}{taxonomy.names[node]}  {tree.wnids[position]}  {about}"
        yield line + ("  (above)" if again else "")
        if not again:
            below = sorted(children.get(position, []), key=lambda p: taxonomy.names[tree.node[p]])
            left += [(child, level + 1) for child in reversed(below)]
        listed.add(position)


def _edges(tree: Tree) -> tuple[list[int], list[int]]:
    """Return parents and children with no node in between, the root's among them."""
    parents, children = [], []
    for child in range(len(tree.node)):
        above = [p for p in range(len(tree.node)) if tree.below[child, p]]
        for parent in above:
            if not any(tree.below[other, parent] for other in above):
                parents.append(parent)
                children.append(child)
    return parents, children
