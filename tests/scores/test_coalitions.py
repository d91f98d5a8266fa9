"""Coalitions of latents: against a plain reading of the definition, and on oracle dictionaries."""

import numpy as np
import pytest

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.names import COALITION_SIZES
from cladescope.scores.coalitions import coalitions
from cladescope.scores.halves import halve
from cladescope.scores.splitting import split_halves
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

CLASSES, PER_CLASS = 12, 10
LABELS = np.repeat(np.arange(CLASSES), PER_CLASS)
PARTS = split_halves(LABELS, seed=0)


@pytest.fixture(scope="module")
def tree():
    parents = {"r": []}
    for c in range(CLASSES):
        parents |= {f"c{c}": [f"p{c // 3}"], f"p{c // 3}": [f"q{c // 6}"], f"q{c // 6}": ["r"]}
    return Tree.of(taxonomy_from_parents([f"c{c}" for c in range(CLASSES)], parents))


def found(fires, tree):
    image, latent = np.nonzero(fires)
    codes = Codes(image, latent, np.ones(len(image), np.float32), *fires.shape)
    return coalitions(halve(strongest_first(codes, 0), LABELS, CLASSES, 1, PARTS), tree).f1


def f_beta(guess, truth, beta):
    hits = (guess & truth).sum()
    total = beta**2 * truth.sum() + guess.sum()
    return (1 + beta**2) * hits / total if total else 0.0


def plain(fires, tree):
    a, b = (fires[part] for part in PARTS)
    rows = []
    for node in tree.internal:
        y_a, y_b = (tree.covers[LABELS[part], node] for part in PARTS)
        left, guess, taken = y_a.copy(), np.zeros(len(a), bool), []
        for _ in range(max(COALITION_SIZES)):
            values = [f_beta(z, left, 0.5) for z in a.T]
            j = int(np.argmax(np.round(values, 9)))
            if values[j] == 0 or f_beta(guess | a[:, j], y_a, 1) <= f_beta(guess, y_a, 1) + 1e-9:
                break
            taken.append(j)
            left, guess = left & ~a[:, j], guess | a[:, j]
        rows.append([f_beta(b[:, taken[:n]].any(1), y_b, 1) for n in COALITION_SIZES])
    return np.array(rows)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition(tree, seed):
    random = np.random.default_rng(seed)
    likes = random.random((CLASSES, 15)) ** 3
    fires = random.random((len(LABELS), 15)) < likes[LABELS]
    fires[:2] = fires[-2:] = True
    expected = plain(fires, tree)
    np.testing.assert_allclose(found(fires, tree), expected, atol=1e-12)
    assert (expected[:, -1] > expected[:, 0]).any()


def test_latents_of_classes_need_as_many_as_there_are_classes(tree):
    scores = found(np.eye(CLASSES, dtype=bool)[LABELS], tree)
    threes = tree.n_leaves[tree.internal] == 3
    np.testing.assert_allclose(scores[threes], [[1 / 2, 4 / 5, 1, 1]] * threes.sum())
    np.testing.assert_array_equal(found(tree.covers[LABELS][:, tree.internal], tree), 1)


def test_latents_that_fire_on_no_image_of_a_node_have_no_coalition(tree):
    fires = np.zeros((len(LABELS), 1), bool)
    fires[LABELS == 0] = True
    scores = found(fires, tree)
    np.testing.assert_array_equal(scores[:, 0] > 0, tree.covers[0, tree.internal])
