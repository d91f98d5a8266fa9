"""The taxonomy as a list, and the check of named nodes, on a graph that is drawn here."""

import pytest

from cladescope.taxonomy.outline import check_nodes, outline
from cladescope.taxonomy.taxonomy import taxonomy_from_parents

#     r
#    / \        c has two parents; x and b have the same classes, and b stands for both.
#   a   x
#   |\ /
#   | b
#  f c  d
GRAPH = {"r": [], "a": ["r"], "x": ["r"], "b": ["x"], "f": ["a"], "c": ["a", "b"], "d": ["b"]}


@pytest.fixture
def taxonomy():
    names = {node: f"{node}.n.01" for node in GRAPH}
    return taxonomy_from_parents(["c", "d", "f"], GRAPH, names)


def test_every_node_stands_below_each_parent_with_its_id(taxonomy):
    assert list(outline(taxonomy)) == [
        "r.n.01  r  3 classes",
        "  a.n.01  a  2 classes",
        "    c.n.01  c  class",
        "    f.n.01  f  class",
        "  b.n.01  b  2 classes",
        "    c.n.01  c  class",
        "    d.n.01  d  class",
    ]


def test_a_node_with_two_parents_is_listed_whole_once():
    graph = {"r": [], "a": ["r"], "b": ["r"], "n": ["a", "b"]}
    graph |= {"c": ["n"], "d": ["n"], "e": ["a"], "f": ["b"]}
    lines = list(outline(taxonomy_from_parents(["c", "d", "e", "f"], graph)))
    assert [line for line in lines if " n " in line] == [
        "    n  n  2 classes",
        "    n  n  2 classes  (above)",
    ]
    assert [line.split()[0] for line in lines].count("c") == 1


def test_named_nodes_are_internal(taxonomy):
    check_nodes(taxonomy, ["a", "b"])
    with pytest.raises(ValueError, match=r"relevancy\.nodes: x \(.* as b: name that\), c, z, r: "):
        check_nodes(taxonomy, ["a", "x", "c", "z", "r"])
