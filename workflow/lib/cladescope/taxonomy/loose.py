"""Classes that nobody has put into a hierarchy, beside those that are in one."""

from collections.abc import Sequence

from cladescope.taxonomy.taxonomy import Taxonomy, taxonomy_from_parents

TOP = "all"
"""The root above loose classes alone."""


def with_loose(taxonomy: Taxonomy | None, loose: Sequence[str]) -> Taxonomy:
    """Return a taxonomy that has further classes, each by itself below the highest node.

    Raises
    ------
    ValueError
        If a node has the id of a loose class.
    """
    if not loose:
        assert taxonomy is not None
        return taxonomy
    nodes = taxonomy.nodes if taxonomy else (TOP,)
    if twice := sorted({*nodes} & {*loose}):
        raise ValueError(f"names of classes that are ids of nodes, too: {', '.join(twice)}")
    parents: dict[str, list[str]] = {TOP: []}
    names: dict[str, str] = {}
    leaves: tuple[str, ...] = ()
    if taxonomy:
        parents = {
            node: [nodes[parent] for parent in above]
            for node, above in zip(nodes, taxonomy.parents, strict=True)
        }
        names, leaves = dict(zip(nodes, taxonomy.names, strict=True)), taxonomy.leaves
    highest = next(node for node, above in parents.items() if not above)
    parents |= {name: [highest] for name in loose}
    return taxonomy_from_parents([*leaves, *loose], parents, names)
