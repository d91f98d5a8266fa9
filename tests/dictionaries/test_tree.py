"""The tree autoencoder: how trees grow, what fires on a path, what is trained and saved."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange.saelens import export_saelens
from cladescope.dictionaries.on_device import OnDevice
from cladescope.dictionaries.paths import LEAST, Paths
from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.training.trees import grow, largest_merges, merge
from cladescope.dictionaries.variants.tree import TREE_LOSS, Tree

RECIPE = Recipe(20_000, 128, 4e-3, 0.05, 0.2, 0.005, 0.05, 1 / 32)
D, WIDTH, K = 12, 20, 3
PATHS = Paths(
    router=np.random.default_rng(1).standard_normal((9, D)).astype(np.float32),
    # Two trees. The first: 0 over 1 and 2, 1 over 3; 4 beside 0. The second: 5 over 6.
    leaf=np.array([3, 1, 2, 4, -1, 6, 6, 5, -1], np.int32),
    parent=np.array([-1, 0, 0, 1, -1, -1, 5], np.int32),
    leaves=np.array([5, 4], np.int32),
)


@pytest.fixture(scope="module")
def dictionary():
    random = np.random.default_rng(0)
    encoder, decoder = random.standard_normal((2, WIDTH, D)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    bias = random.standard_normal(WIDTH).astype(np.float32)
    centre, mean = random.standard_normal((2, D)).astype(np.float32)
    return Dictionary(encoder, bias, decoder, centre, mean, 1.5, k=K, paths=PATHS)


@pytest.fixture(scope="module")
def nested():
    """Rows in 16 dimensions: four kinds of two groups each, 100 rows a group, and their groups."""
    random = np.random.default_rng(3)
    group = np.arange(800) % 8
    centres = 6 * np.eye(16)[group // 2] + 3 * np.eye(16)[4 + group]
    rows = centres + 0.3 * random.standard_normal((800, 16)) + 2
    return rows.astype(np.float32), group


@pytest.fixture(scope="module")
def trained(nested):
    spec = FitSpec(32, 6, 0, RECIPE)
    return fit_dictionary("tree", InMemory(nested[0]), spec).dictionary


def by_loop(subject, x):
    """Encode normalised rows one by one, in float64, from the words of docs/dictionaries.md."""
    paths, width = subject.paths, subject.width
    n, codes = len(paths.parent), np.zeros((len(x), width))
    for i, row in enumerate(x.astype(np.float64)):
        rest = row - subject.decoder_bias
        pre = subject.encoder @ rest + subject.encoder_bias
        first = 0
        for leaves in paths.leaves:
            scores = [float(row @ paths.router[leaf]) for leaf in range(first, first + leaves)]
            node = paths.leaf[first + scores.index(max(scores))]
            while node != -1:
                codes[i, node] = max(pre[node], 1e-3)
                node = paths.parent[node]
            first += leaves
        for node in range(n):
            rest = rest - codes[i, node] * subject.decoder[node]
        pre = subject.encoder[n:] @ rest + subject.encoder_bias[n:]
        for j in np.argsort(-pre)[: subject.k]:
            codes[i, n + j] = max(pre[j], 0)
    return codes


def test_encoding_equals_a_loop_in_float64(dictionary):
    x = np.random.default_rng(2).standard_normal((300, D)).astype(np.float32)
    expected = by_loop(dictionary, x)
    on_device = OnDevice(dictionary, torch.device("cpu"))
    for found in (dictionary.encode(x), on_device.reconstruct(x)[0]):
        assert ((found > 0) == (expected > 0)).all()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    guess = expected @ dictionary.decoder + dictionary.decoder_bias
    for found in (dictionary.decode(dictionary.encode(x)), on_device.reconstruct(x)[1]):
        np.testing.assert_allclose(found, guess, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("made", ["by hand", "trained"])
def test_a_parent_fires_wherever_its_child_does(made, dictionary, trained):
    subject = dictionary if made == "by hand" else trained
    x = 5 * np.random.default_rng(4).standard_normal((2000, len(subject.mean))).astype(np.float32)
    fires = subject.encode(x) > 0
    pairs = [(c, p) for c, p in enumerate(subject.paths.parent) if p >= 0]
    assert pairs and all(fires[:, child].any() for child, _ in pairs)
    for child, parent in pairs:
        assert not (fires[:, child] & ~fires[:, parent]).any()


# How trees grow.


def test_merges_are_those_of_average_linkage():
    """A loop over all pairs of clusters: the mean distance of their leaves."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((12, 4))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    clusters, into = {n: [n] for n in range(12)}, np.full(23, -1)
    for number in range(12, 23):
        pairs = [(a, b) for a in clusters for b in clusters if a < b]

        def distance(pair, clusters=clusters):
            a, b = (clusters[n] for n in pair)
            return np.mean([1 - centres[i] @ centres[j] for i in a for j in b])

        a, b = min(pairs, key=distance)
        into[[a, b]] = number
        clusters[number] = clusters.pop(a) + clusters.pop(b)
    assert merge(centres.astype(np.float32)).tolist() == into.tolist()


def test_nodes_are_the_largest_merges_of_at_most_half_by_hand():
    """Leaves 0 to 4 of 1, 2, 3, 4 and 10 rows.

    Merges: 5 = 0 + 1 (3), 6 = 2 + 5 (6), 7 = 3 + 6 (10), 8 = 7 + 4, the root. Half of 20 is 10.
    """
    into = np.array([5, 5, 6, 7, 8, 6, 7, 8, -1])
    size = np.array([1, 2, 3, 4, 10])
    leaf, parent = largest_merges(into, size, 9)
    assert (leaf.tolist(), parent.tolist()) == ([2, 2, 1, 0, -1], [-1, 0, 1])
    leaf, parent = largest_merges(into, size, 2)
    assert (leaf.tolist(), parent.tolist()) == ([1, 1, 1, 0, -1], [-1, 0])


def test_a_forest_finds_nested_groups(nested):
    rows, group = nested
    x = rows - rows.mean(0)
    forest = grow(x, n_trees=2, nodes=12, leaves=24, seed=0)
    under, first = np.zeros((len(x), forest.paths.nodes), bool), 0
    for leaves in forest.paths.leaves:
        of_tree = slice(first, first + leaves)
        leaf = (x @ forest.paths.router[of_tree].T).argmax(1)
        in_tree = forest.paths.reached[of_tree][leaf]
        found = {frozenset(group[column].tolist()) for column in in_tree.T if column.any()}
        assert {frozenset({2 * kind, 2 * kind + 1}) for kind in range(4)} <= found
        under |= in_tree
        first += leaves
    for node, rows_under in enumerate(under.T):
        np.testing.assert_allclose(forest.means[node], x[rows_under].mean(0), atol=1e-5)
    np.testing.assert_allclose(forest.shares, under.mean(0), atol=1e-12)


def test_too_few_rows_for_a_tree_say_so():
    with pytest.raises(ValueError, match="16 rows or more, there are 15"):
        grow(np.eye(15), 1, 4, 8, 0)


# What is trained.


def test_gradient_is_that_of_the_equation_in_float64(nested):
    rows, _ = nested
    start = Tree.begin(Beginning.of(rows), FitSpec(32, 6, 0))
    sae = Tree(start, 6)
    x = start.normalise(rows[:64])
    with torch.no_grad():
        sae.decoder_bias += 0.1
    sae.loss(torch.from_numpy(x), sae.activate(sae.pre_activations(torch.from_numpy(x)))).backward()

    names = ("encoder", "encoder_bias", "decoder", "decoder_bias")
    encoder, bias, decoder, centre = leaves = [
        getattr(sae, name).detach().double().requires_grad_() for name in names
    ]
    n, total = start.paths.nodes, 0.0
    now = replace(start, **{name: getattr(sae, name).detach().numpy() for name in names})
    for row, fires in zip(torch.from_numpy(x).double(), now.encode(x) > 0, strict=True):
        rest = row - centre
        pre = encoder[:n] @ rest + bias[:n]
        for node in np.flatnonzero(fires[:n]):
            rest = rest - torch.clamp(pre[node], min=LEAST) * decoder[node]
        left = rest
        for latent in n + np.flatnonzero(fires[n:]):
            left = left - (encoder[latent] @ rest + bias[latent]) * decoder[latent]
        total = total + left.square().mean() + TREE_LOSS * rest.square().mean()
    (total / len(x)).backward()
    for name, leaf in zip(names, leaves, strict=True):
        found, expected = getattr(sae, name).grad.numpy(), leaf.grad.numpy()
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-6, err_msg=name)


def test_fires_at_most_k_latents_on_average(nested, trained):
    fires = trained.encode(trained.normalise(nested[0])) > 0
    assert 4 < fires.sum(1).mean() <= 6
    assert trained.k >= 1
    # Every node has a row that it was grown on, and its latent is never silent.
    assert fires[:, : trained.paths.nodes].any(0).all()


def test_trees_and_others_reconstruct_nested_groups(nested, trained):
    x = trained.normalise(nested[0])
    z = trained.encode(x)
    whole = np.square(x - trained.decode(z)).sum() / np.square(x).sum()
    z[:, trained.paths.nodes :] = 0
    paths = np.square(x - trained.decode(z)).sum() / np.square(x).sum()
    assert whole < 0.7 * paths < 0.1


# What is saved.


def test_files_round_trip_and_say_that_they_hold_paths(dictionary, tmp_path):
    path = tmp_path / "sae.safetensors"
    dictionary.save(path, {})
    assert json.loads(path.with_suffix(".json").read_text())["format"] == "cladescope-dictionary-3"
    loaded = Dictionary.load(path)
    x = np.random.default_rng(6).standard_normal((50, D)).astype(np.float32)
    assert np.array_equal(loaded.encode(x), dictionary.encode(x))
    loaded.save(tmp_path / "again.safetensors", {})
    for suffix in (".safetensors", ".json"):
        assert path.with_suffix(suffix).read_bytes() == (tmp_path / f"again{suffix}").read_bytes()
    replace(dictionary, paths=None).save(path, {})
    assert json.loads(path.with_suffix(".json").read_text())["format"] == "cladescope-dictionary-2"
    assert Dictionary.load(path).paths is None


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        ("router", np.full((9, D), np.nan, np.float32)),
        ("router", np.ones((9, D - 1), np.float32)),
        ("leaf", np.array([3, 1, 2, 7, -1, 6, 6, 5, -1], np.int32)),
        ("parent", np.array([-1, 0, 0, 1, -1, -1, 6], np.int32)),
        ("parent", np.full(WIDTH + 1, -1, np.int32)),
        ("leaves", np.array([9, 0], np.int32)),
    ],
)
def test_what_describes_no_trees_is_refused(dictionary, tmp_path, tensor, value):
    path = tmp_path / "sae.safetensors"
    dictionary.save(path, {})
    save_file({**load_file(path), tensor: value}, path)
    with pytest.raises(ValueError, match=f"sae.safetensors: {tensor} does not describe trees"):
        Dictionary.load(path)


def test_thresholds_beside_trees_are_refused(dictionary, tmp_path):
    faulty = replace(dictionary, threshold=np.ones(WIDTH, np.float32))
    with pytest.raises(ValueError, match="threshold has no meaning beside trees"):
        faulty.save(tmp_path / "sae.safetensors", {})


def test_saelens_has_no_word_for_trees(dictionary, tmp_path):
    dictionary.save(tmp_path / "sae.safetensors", {})
    with pytest.raises(ValueError, match="trees, which SAELens cannot express"):
        export_saelens(tmp_path / "sae.safetensors", tmp_path)
