"""Held-out classes: against a brute-force reading of the definition, and on oracle dictionaries."""

from itertools import islice

import numpy as np
import pytest

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.scores.halves import halve
from cladescope.scores.held_out import Folds, held_out, random_subsets
from cladescope.scores.nulls import leaf_permutations
from cladescope.scores.splitting import split_halves
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

CLASSES = 24
PER_CLASS = 20


@pytest.fixture(scope="module")
def tree():
    """Two classes under a node, two such nodes under the next, three of these under one of two."""
    parents = {"r": [], "t0": ["r"], "t1": ["r"]}
    for c in range(CLASSES):
        parents |= {f"c{c}": [f"p{c // 2}"], f"p{c // 2}": [f"q{c // 4}"]}
        parents |= {f"q{c // 4}": [f"t{c // 12}"]}
    return Tree.of(taxonomy_from_parents([f"c{c}" for c in range(CLASSES)], parents))


def halves_of(fires, activation=None, top_n=1):
    """Halves of the images by a bool (images, latents)."""
    image, latent = np.nonzero(fires)
    values = np.ones(len(image)) if activation is None else activation[image, latent]
    codes = Codes(image, latent, values.astype(np.float32), *fires.shape)
    labels = np.repeat(np.arange(CLASSES), len(fires) // CLASSES)
    parts = split_halves(labels, seed=0)
    return halve(strongest_first(codes, 0), labels, CLASSES, top_n, parts)


def mcc(guess, truth):
    if guess.all() or not guess.any() or truth.all() or not truth.any():
        return 0.0
    return np.corrcoef(guess, truth)[0, 1]


def brute_force(halves, tree, folds, cutoffs):
    """The definition, image by image and latent by latent."""

    def dense(half):
        z = np.zeros((len(half.labels), len(half.start) - 1), np.float32)
        for j in range(z.shape[1]):
            part = slice(half.start[j], half.start[j + 1])
            z[half.image[part], j] = half.activation[part]
        return z

    a, b = dense(halves.choose), dense(halves.score)
    result = np.zeros((len(tree.internal), folds.first.shape[1]))
    for v, node in enumerate(tree.internal):
        member = tree.covers[:, node]
        for f in range(result.shape[1]):
            seen = folds.seen_classes(v)[:, f]
            in_a, in_b = seen[halves.choose.labels], ~seen[halves.score.labels]
            truth_a = member[halves.choose.labels][in_a]
            best = (-np.inf, None, 0.0)
            for j in range(a.shape[1]):
                order = np.sort(a[:, j][a[:, j] > 0])[::-1]
                levels = [order[r - 1] for r in sorted(cutoffs) if r < len(order)] + [0.0]
                for level in levels:
                    fires = (a[:, j] > 0) & (a[:, j] >= level)
                    if (fires[in_a] & truth_a).any():
                        found = mcc(fires[in_a], truth_a)
                        if found > best[0] + 1e-9:
                            best = (found, j, level)
            _, j, level = best
            if j is not None:
                fires = (b[:, j] > 0) & (b[:, j] >= level)
                result[v, f] = mcc(fires[in_b], member[halves.score.labels][in_b])
    return result


@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_definition(tree, ties):
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(CLASSES), 6)
    likes = random.random((CLASSES, 9)) ** 4
    fires = random.random((len(labels), 9)) < likes[labels]
    values = random.integers(1, 4, fires.shape) if ties else random.random(fires.shape) + 0.1
    halves, folds = halves_of(fires, values), Folds.of(tree, 5, seed=3)
    found = held_out(halves, folds, cutoffs=(2, 5, 9))
    np.testing.assert_allclose(found, brute_force(halves, tree, folds, (2, 5, 9)), atol=1e-12)
    assert len(np.unique(found)) > 20


def test_latents_of_nodes_score_one_and_latents_of_classes_nothing(tree):
    labels, folds = np.repeat(np.arange(CLASSES), PER_CLASS), Folds.of(tree, 20, seed=0)
    nodes, pairs = tree.covers[labels][:, tree.internal], tree.n_leaves[tree.internal] == 2
    scores = held_out(halves_of(nodes), folds, (8,))
    np.testing.assert_array_equal(scores[pairs], 1)
    # Where the seen classes are all of a smaller node, nothing tells the two nodes apart.
    assert scores.mean() > 0.85 and set(np.unique(scores.round(9))) == {0, 1}
    classes = np.eye(CLASSES, dtype=bool)[labels]
    assert (held_out(halves_of(classes), folds, (8,)) <= 0).all()
    # Yet each has an MCC of .69 with the two classes it is one of, enough to recover the node.
    pair = tree.covers[labels, tree.internal[pairs][0]]
    assert max(mcc(latent, pair) for latent in classes.T) > 0.5


def test_a_latent_for_some_of_the_classes_scores_in_between(tree):
    labels, folds = np.repeat(np.arange(CLASSES), PER_CLASS), Folds.of(tree, 20, seed=0)
    children = tree.covers[labels][:, tree.internal[tree.n_leaves[tree.internal] == 4]]
    large = tree.n_leaves[tree.internal] == 12
    scores = held_out(halves_of(children), folds, (8,))[large]
    assert 0.1 < scores.mean() < 0.7


def test_permuted_leaves_score_nothing(tree):
    """Latents of every node; the classes then change places."""
    labels, folds = np.repeat(np.arange(CLASSES), PER_CLASS), Folds.of(tree, 4, seed=0)
    halves = halves_of(tree.covers[labels][:, tree.internal])
    draws = [
        held_out(halves.permuted(permutation), folds, (8, 64)).mean()
        for permutation in islice(leaf_permutations(tree, seed=0), 100)
    ]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(len(draws))


def test_images_at_random_score_nothing(tree):
    random, folds = np.random.default_rng(0), Folds.of(tree, 20, seed=0)
    fires = random.random((CLASSES * PER_CLASS, 200)) < 0.05
    assert abs(held_out(halves_of(fires), folds, (8,)).mean()) < 0.02


def test_folds_are_halves_of_each_node(tree):
    folds = Folds.of(tree, 200, seed=0)
    assert (folds.first.sum(0) == CLASSES // 2).all()
    for number, node in enumerate(tree.internal):
        seen = folds.seen[folds.node == number]
        assert (seen.sum(0) == tree.n_leaves[node] // 2).all()
        classes = folds.seen_classes(number)
        np.testing.assert_array_equal(classes[tree.covers[:, node]], seen)
        np.testing.assert_array_equal(
            classes[~tree.covers[:, node]], folds.first[~tree.covers[:, node]]
        )
        # Every class is seen about as often as any other.
        assert abs(seen.mean(1) - 0.5).max() < 0.15


def test_a_node_without_images_has_no_score(tree):
    labels = np.repeat(np.arange(CLASSES), PER_CLASS)
    halves = halves_of(tree.covers[labels][:, tree.internal])
    absent = halves.changed(lambda half: half.relabelled(np.where(half.labels < 2, 5, half.labels)))
    scores = held_out(absent, Folds.of(tree, 3, seed=0), (8,))
    above = tree.covers[0, tree.internal]
    assert np.isnan(scores[above & (tree.n_leaves[tree.internal] == 2)]).all()
    assert not np.isnan(scores[~above]).any()


def test_random_subsets():
    subsets = random_subsets(10, 4, 50, seed=0)
    assert (subsets.sum(0) == 4).all() and len(np.unique(subsets.T, axis=0)) > 40
    assert random_subsets(3, 4, 50, seed=0) is None
