"""Which latents stand for a node, what matches them, and what a node is compared with."""

import numpy as np
import pytest

from cladescope.causes.sets import (
    NONE,
    counterparts,
    latents_of_nodes,
    matched_latents,
    mean_contribution,
    siblings,
)
from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.scores.halves import halve
from cladescope.scores.splitting import split_halves
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

PARENTS = {
    "r": [],
    **{"big": ["r"], "p": ["big"], "q": ["big"], "s": ["r"]},
    **{"a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"], "e": ["big"], "f": ["s"], "g": ["s"]},
}
CLASSES = [*"abcdefg"]
LABELS = np.repeat(np.arange(7), 8)


@pytest.fixture(scope="module")
def taxonomy():
    return taxonomy_from_parents(CLASSES, PARENTS)


@pytest.fixture(scope="module")
def tree(taxonomy):
    return Tree.of(taxonomy)


def by_name(taxonomy, tree, rows):
    names = [taxonomy.nodes[tree.node[node]] for node in tree.internal]
    return dict(zip(names, rows, strict=True))


def test_counterparts_are_of_about_the_same_size_and_share_nothing(taxonomy, tree):
    found = by_name(taxonomy, tree, counterparts(tree))
    names = {
        node: [taxonomy.nodes[tree.node[at]] if at != NONE else None for at in row]
        for node, row in found.items()
    }
    # Of p (2 classes): itself, its sibling q, the leaf e, whose other node holds p, and s.
    assert names["p"] == ["p", "p", "q", "q", "e", "s", "s"]
    assert names["big"] == ["big"] * 5 + ["s", "s"]


def test_siblings_are_under_a_node_directly_above(taxonomy, tree):
    found = by_name(taxonomy, tree, siblings(tree))
    assert {node: "".join(np.array(CLASSES)[row]) for node, row in found.items()} == {
        **{"p": "cde", "q": "abe", "big": "fg", "s": "abcde"}
    }


@pytest.fixture(scope="module")
def halves():
    """Latent 0 is p, 1 is q, 2 fires as often and strongly elsewhere, 3 everywhere and weakly."""
    fires = np.zeros((len(LABELS), 4), np.float32)
    fires[:, 0], fires[:, 1] = 2.0 * (LABELS < 2), 2.0 * np.isin(LABELS, (2, 3))
    fires[:, 2], fires[:, 3] = 2.0 * np.isin(LABELS, (4, 5)), 0.1
    image, latent = np.nonzero(fires)
    codes = Codes(image, latent, fires[image, latent], *fires.shape)
    parts = split_halves(LABELS, seed=0)
    return halve(strongest_first(codes, 0), LABELS, 7, 1, parts)


def test_a_node_has_its_coalition(taxonomy, tree, halves):
    found = by_name(taxonomy, tree, latents_of_nodes(halves, tree))
    assert found["p"].tolist() == [0] + [NONE] * 4
    # Of five classes two each are of p and q, one is latent 2's.
    assert found["big"].tolist() == [0, 1, 2] + [NONE] * 2


def test_matched_latents_fire_as_often_and_as_strongly_and_are_others(tree, halves, monkeypatch):
    monkeypatch.setattr("cladescope.causes.sets.ALIKE", 2)
    chosen = latents_of_nodes(halves, tree)
    for seed in range(5):
        matched = matched_latents(halves, chosen, seed)
        for own, others in zip(chosen, matched, strict=True):
            used = own[own != NONE]
            assert not set(used) & set(others)
            assert len(set(others[others != NONE])) == min(len(used), 4 - len(used))
        # The weak latent is the least alike of all.
        assert (matched[(chosen != NONE).sum(1) == 1, 0] != 3).all()


def test_contribution_is_the_mean_over_the_images_of_the_node(taxonomy, tree, halves):
    chosen = latents_of_nodes(halves, tree)
    found = by_name(taxonomy, tree, mean_contribution(halves, chosen, tree))
    # Latent 0 fires at 2 on all of p, and on two of the five classes of big; 2 on one of these.
    assert found["p"][0] == pytest.approx(2)
    assert found["big"][:3].tolist() == pytest.approx([0.8, 0.8, 0.4])
    assert np.isnan(found["p"][1:]).all()


def test_where_no_latent_is_scored_no_node_has_any(tree):
    nothing = np.empty(0, np.int64)
    codes = Codes(nothing, nothing, nothing.astype(np.float32), len(LABELS), 4)
    halves = halve(codes, LABELS, 7, 1, split_halves(LABELS, seed=0))
    chosen = latents_of_nodes(halves, tree)
    assert (chosen == NONE).all() and (matched_latents(halves, chosen, 0) == NONE).all()
