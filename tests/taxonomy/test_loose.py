"""Classes outside any hierarchy, beside those that are in one."""

import pytest

from cladescope.taxonomy.loose import with_loose
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

PARENTS = {"r": [], "p": ["r"], "a": ["p"], "b": ["p"], "c": ["r"]}


def test_loose_classes_are_under_the_root_alone() -> None:
    found = with_loose(taxonomy_from_parents(["a", "b", "c"], PARENTS), ["sky", "wall"])
    assert found.leaves == ("a", "b", "c", "sky", "wall")
    tree = Tree.of(found)
    (internal,) = tree.internal
    assert tree.covers[:, internal].tolist() == [True, True, False, False, False]
    assert found.nodes[found.root] == "r"


def test_without_others_they_have_a_root_of_their_own() -> None:
    found = with_loose(None, ["sky", "wall"])
    assert found.leaves == ("sky", "wall") and not len(Tree.of(found).internal)


def test_a_name_that_is_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="ids of nodes, too: p"):
        with_loose(taxonomy_from_parents(["a", "b", "c"], PARENTS), ["p"])
