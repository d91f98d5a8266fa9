"""Scores of dictionaries with a known truth, on ImageNet-1k's own tree."""

from dataclasses import replace

import numpy as np
import pytest
from timm.data import ImageNetInfo

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.scores.halves import halve
from cladescope.scores.nulls import leaf_permutations
from cladescope.scores.pair_null import PairNull
from cladescope.scores.score import score_dictionary
from cladescope.scores.sensitivity import SensitivitySpec
from cladescope.scores.spec import ScoreSpec
from cladescope.scores.splitting import split_halves
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree
from cladescope.taxonomy.wordnet import build_taxonomy
from oracles import inner_nodes, noisy_codes, top_sets

# 40 images of each class, 20 in either half.
LABELS = np.tile(np.arange(1000), 40)
SPEC = ScoreSpec(
    top_n=16,
    null_draws=10,
    p_draws=200,
    shuffle_draws=1,
    bootstrap_draws=0,
    sensitivity=SensitivitySpec((16,), (0.9,), (0.5,), 0),
)


@pytest.fixture(scope="module")
def imagenet(root) -> Taxonomy:
    wnids = ImageNetInfo("imagenet-1k").label_names()
    return build_taxonomy(wnids, root / "resources" / "nltk_data")


def test_latents_of_leaves_have_height_0(imagenet: Taxonomy) -> None:
    codes = noisy_codes([[c] for c in range(1000)], LABELS, noise=0, seed=0, inside=0.95)
    result = score_dictionary(codes, LABELS, imagenet, SPEC)
    latents = result.latents.to_pandas().query("status == 'scored'")
    assert len(latents) > 950
    assert (latents["lch_height"] == 0).all()
    assert (latents["purity"] == 1).all()
    assert latents["best_wnid"].tolist() == [imagenet.leaves[c] for c in latents["latent"]]
    assert (result.scores["coherent_share"], result.scores["ontological_coverage"]) == (0, 0)
    assert result.scores["leaf_recovery"] > 0.95


def test_latents_of_internal_nodes_find_their_node(imagenet: Taxonomy) -> None:
    nodes = inner_nodes(imagenet)
    sets = [np.flatnonzero(imagenet.ancestors[:, node]) for node in nodes]
    shares = {}
    for noise in (0.0, 0.05, 0.15, 0.3):
        codes = noisy_codes(sets, LABELS, noise, seed=1)
        result = score_dictionary(codes, LABELS, imagenet, SPEC)
        latents = result.latents.to_pandas().query("status == 'scored'")
        assert len(latents) > 0.95 * len(nodes)
        truth = np.array(imagenet.nodes)[nodes[latents["latent"]]]
        shares[noise] = {
            "found": (latents["best_internal_wnid"] == truth).mean(),
            "coherent": result.scores["coherent_share"],
            "significant": result.scores["significant_share"],
            "recovered": result.scores["node_recovery"],
        }
        assert result.scores["node_recovery_null_permuted"] < 0.15
        assert result.scores["coherent_share_null_permuted"] < 0.05
    assert min(shares[0.0].values()) > 0.9
    # 38 nodes are alike in all but a class or two of hundreds; noise makes a few of them swap.
    assert all(share["found"] > 0.9 for share in shares.values())
    # MCC, .89 without noise for firing on .8 of the images, falls as noise replaces images.
    assert shares[0.3]["recovered"] > 0.9
    assert shares[0.15]["significant"] > 0.9
    for score in ("coherent", "significant"):
        values = [share[score] for share in shares.values()]
        assert all(np.diff(values) < 0.02), score


def test_latents_of_random_classes_are_inside_their_null(imagenet: Taxonomy) -> None:
    random = np.random.default_rng(2)
    sets = [random.choice(1000, size, replace=False) for size in random.integers(2, 30, 600)]
    codes = noisy_codes(sets, LABELS, noise=0.1, seed=3)
    spec = replace(SPEC, null_draws=60)
    scores = score_dictionary(codes, LABELS, imagenet, spec).scores
    assert scores["significant_share"] < 0.01
    for name in ("pair_lch", "lch_tau_height", "monosemanticity", "best_internal_mcc"):
        assert scores[f"{name}_null_permuted_p"] > 0.02, name
        spread = scores[f"{name}_null_permuted_high"] - scores[f"{name}_null_permuted_low"]
        assert abs(scores[name] - scores[f"{name}_null_permuted"]) < spread, name


def test_p_values_are_uniform_and_discoveries_false_no_more_often_than_stated(
    imagenet: Taxonomy,
) -> None:
    """Kolmogorov-Smirnov on 10,000 null latents, false discovery rate over 200 dictionaries."""
    tree, draws = Tree.of(imagenet), 199
    heights = tree.pair_tables().height
    members = [np.flatnonzero(column) for column in tree.covers[:, tree.internal].T]
    families = [m for m in members if 4 <= len(m) <= 40]
    random = np.random.default_rng(4)
    p_values, false_rates, power = [], [], []
    for dictionary in range(200):
        null_sets = [random.choice(1000, random.integers(3, 17), replace=False) for _ in range(50)]
        true_sets = [families[i] for i in random.integers(len(families), size=15)]
        halves = top_sets(null_sets + true_sets, 1000, 16, random)
        null = PairNull.of(halves, heights, leaf_permutations(tree, dictionary), draws, fdr=0.05)
        found = null.significant()
        p_values.append(null.p_value[:50])
        false_rates.append(found[:50].sum() / max(found.sum(), 1))
        power.append(found[50:].mean())
    p = np.sort(np.concatenate(p_values))
    # Latents of one dictionary share its permutations, so the bound is that of the dictionaries'
    # mean p-value: uniform has mean 1/2 and every decile its share.
    deciles = np.quantile(p, np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(deciles, np.linspace(0.1, 0.9, 9), atol=0.03)
    bound = 1.95 / np.sqrt(len(p)) + 1 / (1 + draws)  # 1e-3 level, and the steps of p
    assert np.abs(np.arange(1, len(p) + 1) / len(p) - p).max() < bound
    assert np.mean(false_rates) < 0.05
    assert np.mean(power) > 0.95


def test_a_copied_latent_changes_no_other(imagenet: Taxonomy) -> None:
    sets = [np.flatnonzero(imagenet.ancestors[:, node]) for node in inner_nodes(imagenet)[:60]]
    codes = noisy_codes(sets, LABELS, noise=0.1, seed=5)
    chosen = codes.latent == 3
    order = np.argsort(np.concatenate([codes.image, codes.image[chosen]]), kind="stable")
    copied = replace(
        codes,
        image=np.concatenate([codes.image, codes.image[chosen]])[order],
        latent=np.concatenate([codes.latent, np.full(chosen.sum(), 60, np.int32)])[order],
        activation=np.concatenate([codes.activation, codes.activation[chosen]])[order],
        width=61,
    )
    before, after = (
        score_dictionary(c, LABELS, imagenet, replace(SPEC, split_selection=True))
        for c in (codes, copied)
    )
    columns = [n for n in before.latents.column_names if n not in ("q_value", "significant")]
    columns = [n for n in columns if n not in ("hierarchical", "latent")]  # follow q-values
    rows = after.latents.select(columns).to_pylist()
    assert rows[:60] == before.latents.select(columns).to_pylist()
    assert rows[60] == rows[3]
    assert after.nodes["best_latent"].to_pylist() == before.nodes["best_latent"].to_pylist()
    assert after.scores["node_recovery"] == before.scores["node_recovery"]


def test_binary_codes_that_ignore_the_classes_are_not_hierarchical(imagenet: Taxonomy) -> None:
    """All images tie; they are sorted by class, as in every store."""
    labels = np.repeat(np.arange(1000), 20)
    random = np.random.default_rng(6)
    image, latent = np.nonzero(random.random((len(labels), 400)) < 0.05)
    ones = np.ones(len(image), np.float32)
    codes = Codes(image.astype(np.int32), latent.astype(np.int32), ones, len(labels), 400)
    result = score_dictionary(codes, labels, imagenet, SPEC)
    p = np.sort(result.latents["p_value"].to_numpy())
    # Kolmogorov-Smirnov at the 1e-3 level, and the steps of p.
    bound = 1.95 / np.sqrt(400) + 1 / (1 + SPEC.p_draws)
    assert np.abs(np.arange(1, 401) / 400 - p).max() < bound
    assert (result.scores["significant_share"], result.scores["coherent_share"]) == (0, 0)
    assert abs(result.scores["best_internal_mcc"]) < 0.01


@pytest.mark.parametrize("ratio", [2, 3, 10])
def test_p_values_are_uniform_if_a_subtree_has_more_images(imagenet: Taxonomy, ratio: int) -> None:
    """Latents that ignore the classes; each of the 118 classes of dogs has more images."""
    dog = imagenet.nodes.index("n02084071")
    size = np.where(imagenet.ancestors[:, dog], 8 * ratio, 8)
    labels = np.repeat(np.arange(1000), size)
    random = np.random.default_rng(ratio)
    n_latents, draws = 2000, 199
    image = random.integers(len(labels), size=n_latents * 16 * 16)
    cell = np.unique(image * n_latents + np.repeat(np.arange(n_latents), 16 * 16))
    image, latent = np.divmod(cell, n_latents)
    activation = random.random(len(cell)).astype(np.float32) + 0.1
    codes = Codes(image, latent, activation, len(labels), n_latents)
    halves = halve(strongest_first(codes, 0), labels, 1000, 16, split_halves(labels, 0))
    assert len(halves.scored) > 1000
    tree = Tree.of(imagenet)
    permutations = leaf_permutations(tree, 0)
    null = PairNull.of(halves, tree.pair_tables().height, permutations, draws, fdr=0.05)
    p = np.sort(null.p_value)
    few = (p <= 0.05).mean()
    # 3.3 standard deviations, and Kolmogorov-Smirnov at the 1e-3 level and the steps of p.
    assert abs(few - 0.05) < 3.3 * np.sqrt(0.05 * 0.95 / len(p)), few
    bound = 1.95 / np.sqrt(len(p)) + 1 / (1 + draws)
    assert np.abs(np.arange(1, len(p) + 1) / len(p) - p).max() < bound


def test_p_values_resolve_what_the_false_discovery_rate_needs(imagenet: Taxonomy) -> None:
    """One latent in a hundred follows a node: q < .05 needs p-values of .0005."""
    tree = Tree.of(imagenet)
    heights = tree.pair_tables().height
    members = [np.flatnonzero(column) for column in tree.covers[:, tree.internal].T]
    families = [m for m in members if 10 <= len(m) <= 40]
    random = np.random.default_rng(8)
    null_sets = [random.choice(1000, random.integers(3, 17), replace=False) for _ in range(990)]
    true_sets = [families[i] for i in random.integers(len(families), size=10)]
    halves = top_sets(null_sets + true_sets, 1000, 16, random)
    few, many = (
        PairNull.of(halves, heights, leaf_permutations(tree, 0), draws, fdr=0.05)
        for draws in (100, 10_000)
    )
    assert few.significant()[-10:].all() and many.significant()[-10:].all()
    assert few.significant()[:-10].sum() <= 2
    # The standard error of a p-value that ends with the tenth draw as low is a third of it.
    rare = (few.p_value < 0.05) & (many.p_value > 0.001)
    ratio = np.log(few.p_value[rare] / many.p_value[rare])
    assert rare.sum() > 20
    assert abs(ratio.mean()) < 0.3
    assert np.abs(ratio).max() < 4 * 0.35
