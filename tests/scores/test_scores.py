"""The scores against known dictionaries, a slow reference and arithmetic done by hand."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.names import PERMUTED, SCORES, WORDS, with_null
from cladescope.scores.halves import halve
from cladescope.scores.held_out import N_FOLDS
from cladescope.scores.lch import evenness
from cladescope.scores.nulls import benjamini_hochberg, leaf_permutations
from cladescope.scores.pair_null import PairNull
from cladescope.scores.schemas import (
    EDGE_SCHEMA,
    LATENT_SCHEMA,
    NODE_SCHEMA,
    RELATION_SCHEMA,
    SENSITIVITY_SCHEMA,
    SIZE_SCHEMA,
)
from cladescope.scores.score import score_dictionary
from cladescope.scores.sensitivity import SensitivitySpec
from cladescope.scores.spec import ScoreSpec
from cladescope.scores.splitting import split_halves
from cladescope.taxonomy.taxonomy import Taxonomy, taxonomy_from_parents
from cladescope.taxonomy.tree import Tree
from cladescope.taxonomy.wordnet import build_taxonomy

ROOT = Path(__file__).parents[2]
# ImageNet classes of several families of animals and things: enough nodes of two to ten classes.
WNIDS = re.findall(
    r"n\d{8}",
    """
    n02071294 n02066245 n02074367 n02077923 n02099601 n02106662 n02110958 n02088364 n02123597
    n02129165 n02129604 n02128385 n01818515 n01820546 n01819313 n01817953 n01614925 n01608432
    n01616318 n01622779 n01484850 n01491361 n01494475 n01496331 n01498041 n02279972 n02280649
    n02281787 n02276258 n02165456 n02174001 n02169497 n03372029 n03838899 n02804610 n04141076
    n02992211 n04536866 n02676566 n03272010 n04285008 n02930766 n03594945 n03670208 n03345487
    n03417042 n04461696 n03930630 n02690373 n04552348 n02692877 n02782093 n04147183 n02981792
    n02951358 n04273569 n04099969 n03376595 n04429376 n02791124 n04591713 n02823428 n03983396
    n04557648
    """,
)
# One grid point, few resamples; all images both to choose and to score, as in the slow reference.
POINT = SensitivitySpec(top_n=(8,), tau=(0.9,), rho=(0.5,), draws=2)
WHOLE = ScoreSpec(split_selection=False, bootstrap_draws=2, sensitivity=POINT)
QUICK = replace(WHOLE, null_draws=20, p_draws=200, shuffle_draws=2)


@pytest.fixture(scope="session")
def world() -> Taxonomy:
    return build_taxonomy(WNIDS, ROOT / "resources" / "nltk_data")


def sparse(dense: np.ndarray) -> Codes:
    image, latent = np.nonzero(dense > 0)
    values = dense[image, latent].astype(np.float32)
    return Codes(image.astype(np.int32), latent.astype(np.int32), values, *dense.shape)


def oracle(
    class_sets: list, labels: np.ndarray, inside: float = 0.6, outside: float = 0.01
) -> Codes:
    """Latents that fire on a share of their classes' images, and weakly on a few others."""
    random = np.random.default_rng(0)
    dense = np.zeros((len(labels), len(class_sets)))
    for latent, classes in enumerate(class_sets):
        member = np.isin(labels, list(classes))
        fires = random.random(len(labels)) < np.where(member, inside, outside)
        size = np.abs(1 + 0.3 * random.standard_normal(len(labels)))
        dense[:, latent] = fires * size * np.where(member, 1, 0.5)
    return sparse(dense)


LABELS = np.tile(np.arange(64), 64)


def inner_nodes(taxonomy: Taxonomy) -> np.ndarray:
    n_leaves = taxonomy.n_leaves[taxonomy.contracted]
    return taxonomy.contracted[(n_leaves > 1) & (n_leaves < len(taxonomy.leaves))]


# ---------------------------------------------------------------- by hand


#        r           Four classes; {a, b} under p, {c, d} under q.
#      p   q         Image i has class i mod 4.
#     a b c d
SMALL = taxonomy_from_parents(
    ["a", "b", "c", "d"],
    {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]},
)


def test_by_hand() -> None:
    labels = np.tile(np.arange(4), 4)  # 16 images, 4 of each class
    dense = np.zeros((16, 4))
    # Latent 0 fires on images 0 1 4 5 8 (a b a b a), weaker and weaker, then on 2 (c).
    dense[[0, 1, 4, 5, 8, 2], 0] = [9, 8, 7, 6, 5, 1]
    dense[[3, 7, 11, 15], 1] = 1  # all of d, tied
    dense[[0, 6], 2] = 1  # rare: two images only
    spec = replace(WHOLE, top_n=4, cutoffs=(5,), null_draws=0, shuffle_draws=0)
    result = score_dictionary(sparse(dense), labels, SMALL, spec)
    first, second, rare, dead = result.latents.to_pylist()

    assert (rare["status"], dead["status"]) == ("rare", "dead")
    assert all(rare[name] is None for name in LATENT_SCHEMA.names[4:])
    assert first["firing_rate"] == 6 / 16
    # Top set: images 0 1 4 5, two of a and two of b. Their LCH is p, one step above its leaves.
    assert (first["lch_wnid"], first["lch_height"], first["lch_depth"]) == ("p", 1, 1)
    assert (first["n_classes"], first["purity"], first["lch_ic"]) == (2, 0.5, 1.0)
    # It fires on 3 of 4 images of a, 2 of 4 of b (both at rho = 0.5), and 1 of 4 of c.
    assert (first["coverage"], first["coverage_top"], first["coherent"]) == (1.0, 1.0, True)
    assert (first["effective_classes"], first["lch_ic_images"]) == (2.0, 1.0)
    # Of the 6 pairs of images, 2 are of one class; a and b share p: Lin 2*1 / (2 + 2) = 1/2.
    assert first["monosemanticity"] == pytest.approx((2 + 4 / 2) / 6)
    # The only two classes meet at p: expected height 1.
    assert (first["pair_lch"], first["pair_lch_contracted"]) == (1.0, 1.0)
    # The first five images against p (8 of 16 images): n tp - r p = 16*5 - 5*8 = 40, divided by
    # sqrt(5*11*8*8) = 59.33: 0.674; all six: 16*5 - 6*8 = 32 / sqrt(6*10*8*8) = 61.97: 0.516.
    # Against a: the first five have 3: 16*3 - 5*4 = 28 / sqrt(5*11*4*12) = 51.38: 0.545.
    assert (first["best_wnid"], first["best_cutoff"]) == ("p", 5)
    assert first["best_mcc"] == pytest.approx(40 / np.sqrt(5 * 11 * 8 * 8))
    assert (first["best_precision"], first["best_recall"]) == (1.0, 5 / 8)
    # p's 8 images against the other 8: five beat all 8; the three that do not fire lose against
    # the one of c that does and tie with the other seven.
    assert first["best_auroc"] == pytest.approx((5 * 8 + 3 * 7 / 2) / 64)

    assert (second["lch_wnid"], second["lch_height"], second["coverage"]) == ("d", 0, 1.0)
    assert second["pair_lch"] is None
    assert (second["coherent"], second["significant"]) == (False, False)
    assert (second["best_wnid"], second["best_mcc"], second["best_cutoff"]) == ("d", 1.0, 4)
    # d's four images against q's eight: 16*4 - 4*8 = 32 / sqrt(4*12*8*8) = 55.43.
    assert second["best_internal_mcc"] == pytest.approx(32 / np.sqrt(4 * 12 * 8 * 8))

    scores = result.scores
    assert [scores[f"n_{kind}"] for kind in ("live", "scored", "rare", "dead")] == [3, 2, 1, 1]
    assert scores["lch_height"] == 0.5
    assert scores["coherent_share"] == 0.5
    assert scores["node_recovery"] == 1.0  # p by latent 0, q by latent 1 (0.577)
    assert scores["leaf_recovery"] == 0.5  # a (0.545) and d (1.0)
    assert [node["best_latent"] for node in result.nodes.to_pylist()] == [0, 1]


def test_ties_are_in_a_random_order_of_each_latent() -> None:
    dense = np.ones((200, 300))
    dense[7] = 2
    ranked = strongest_first(sparse(dense), seed=0).image.reshape(300, 200)
    assert (ranked[:, 0] == 7).all()
    assert (np.sort(ranked, 1) == np.arange(200)).all()
    # Whichever place: 300 latents have an image of 0 to 199 there, of mean 99.5 and variance 3333.
    assert np.abs(ranked[:, 1:].mean(0) - 99.5).max() < 5 * np.sqrt(3333 / 300)
    assert len(np.unique(ranked[:, 1])) > 100
    again, other = (strongest_first(sparse(dense), seed).image for seed in (0, 1))
    assert (again == ranked.ravel()).all() and (other != again).any()


def test_one_prevailing_class_is_not_coherent() -> None:
    # Seventeen images of a and one each of b, c and d, which make up p with it: 17/20 are not 0.9,
    # so that the latent is one for p, by one class: (17 + 3 * 1)^2 / (17^2 + 3) = 1.37 effective
    # classes of 4, while 20 images drawn evenly from four have 20 * 4 / 23 = 3.48 on average.
    tree = taxonomy_from_parents(
        [*"abcdefgh"], {"r": [], "p": ["r"], "q": ["r"], **{c: ["pq"[c > "d"]] for c in "abcdefgh"}}
    )
    labels = np.repeat(np.arange(8), 17)
    dense = np.zeros((len(labels), 1))
    dense[[*range(18), 34, 51]] = 1
    result = score_dictionary(sparse(dense), labels, tree, replace(QUICK, top_n=20))
    row = result.latents.to_pylist()[0]
    assert (row["lch_wnid"], row["n_classes"], row["coherent"]) == ("p", 4, False)
    assert row["effective_classes"] == pytest.approx(400 / 292)
    assert row["coverage_top"] == pytest.approx((400 / 292) / (80 / 23))


def test_even_draws_from_a_node_cover_it_whatever_its_size() -> None:
    # The reason for the form: 32 images cannot hold 5% of the top set for each of 100 classes.
    random = np.random.default_rng(0)
    for n_leaves in (2, 10, 100):
        counts = random.multinomial(32, np.full(n_leaves, 1 / n_leaves), size=4000)
        squares = np.square(counts).sum(1)
        images = np.full(4000, 32)
        unclipped = (32 + n_leaves - 1) / (32 * n_leaves) / (squares / 32**2)
        assert unclipped.mean() == pytest.approx(1, abs=0.05)  # Jensen: above 1, by little
        assert evenness(images, squares, np.full(4000, n_leaves)).mean() > 0.9
    # Half of a large node's classes, evenly: half of it is covered.
    counts = random.multinomial(1000, np.full(50, 1 / 50), size=1000)
    half = evenness(np.full(1000, 1000), np.square(counts).sum(1), np.full(1000, 100))
    assert half.mean() == pytest.approx(0.5, abs=0.03)


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted .01 .04 .041 .5 times 4/k: .04 .08 .0547 .5; no q is above a later one.
    adjusted = benjamini_hochberg(np.array([0.04, 0.01, 0.5, 0.041]))
    np.testing.assert_allclose(adjusted, [0.164 / 3, 0.04, 0.5, 0.164 / 3])


# ---------------------------------------------------------------- a slow reference


def auroc(z: np.ndarray, truth: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order; ties count half."""
    difference = z[truth][:, None] - z[~truth]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0))) if difference.size else np.nan


def reference(dense: np.ndarray, labels: np.ndarray, tax: Taxonomy, spec: ScoreSpec) -> list[dict]:
    """Every column that does not depend on a draw, by loops over sets of images and classes."""
    n_images = len(labels)
    under = [set(np.flatnonzero(column)) for column in tax.ancestors.T]
    sets: dict[frozenset, int] = {}
    for node, classes in enumerate(under):
        sets.setdefault(frozenset(classes), node)
    everything = frozenset(range(len(tax.leaves)))

    def covering(images: list[int], tau: float) -> int:
        for node in range(len(tax.nodes)):
            if sum(labels[i] in under[node] for i in images) >= tau * len(images) - 1e-9:
                return node
        raise AssertionError

    def correlation(chosen: set[int], classes: frozenset) -> float:
        truth = np.isin(labels, list(classes)).astype(float)
        guess = np.isin(np.arange(n_images), list(chosen)).astype(float)
        if truth.std() == 0 or guess.std() == 0:
            return 0.0
        return float(np.corrcoef(truth, guess)[0, 1])

    rows, ranked = [], strongest_first(sparse(dense), spec.seed)
    for latent in range(dense.shape[1]):
        z = dense[:, latent]
        firing = ranked.image[ranked.latent == latent].tolist()
        row = {"latent": latent, "n_firing": len(firing), "firing_rate": len(firing) / n_images}
        row["status"] = "scored" if len(firing) >= spec.top_n else "rare" if firing else "dead"
        if row["status"] == "scored":
            top = firing[: spec.top_n]
            count = {c: sum(labels[i] == c for i in top) for c in range(len(tax.leaves))}
            active = set()
            for c in range(len(tax.leaves)):
                images = np.flatnonzero(labels == c)
                share = np.mean(z[images] > 0) if len(images) else 0
                active |= {c} if share >= spec.rho - 1e-9 else set()
            row["n_classes"] = sum(n > 0 for n in count.values())
            row["effective_classes"] = len(top) ** 2 / sum(n * n for n in count.values())
            row["purity"] = max(count.values()) / len(top)
            first = {labels[i]: -n for n, i in reversed([*enumerate(top)])}
            row["top_class"] = tax.leaves[max(first, key=lambda c: (count[c], first[c]))]
            exact, tolerant = covering(top, 1.0), covering(top, spec.tau)
            for name, node in (("lch", exact), ("lch_tau", tolerant)):
                row[f"{name}_wnid"] = tax.nodes[node]
                row[f"{name}_name"] = tax.names[node]
                row[f"{name}_height"] = tax.height[node]
                row[f"{name}_height_contracted"] = tax.height_contracted[node]
                row[f"{name}_depth"] = tax.depth[node]
                row[f"{name}_ic"] = tax.ic[node]
            row["coverage"] = len(active & under[exact]) / len(under[exact])
            row["coverage_tau"] = len(active & under[tolerant]) / len(under[tolerant])
            internal = 1 < len(under[tolerant]) < len(everything)
            inside = [count[c] for c in under[tolerant] if count[c]]
            size, n_leaves = sum(inside), len(under[tolerant])
            expected = (size + n_leaves - 1) / (size * n_leaves)
            row["coverage_top"] = min(1.0, expected / sum((n / size) ** 2 for n in inside))
            if 2 * n_leaves > len(everything):
                row["coverage_top"] = 0.0
            row["lch_tau_share"] = size / len(top)
            pairs = [
                covering([i, j], 1.0)
                for n, i in enumerate(top)
                for j in top[:n]
                if labels[i] != labels[j]
            ]
            for name, heights in (("", tax.height), ("_contracted", tax.height_contracted)):
                row[f"pair_lch{name}"] = np.mean(heights[pairs]) if pairs else None
            assert internal or row["coverage_top"] == 0 or n_leaves == 1
            row["coherent"] = internal and len(inside) >= 2 and row["coverage_top"] >= 0.5
            cuts = sorted({min(c, len(firing)) for c in (*spec.cutoffs, len(firing))})
            for kind, nodes in {
                "best": [s for s in sets if s != everything],
                "best_internal": [s for s in sets if s != everything and len(s) > 1],
            }.items():
                seen = {c: {labels[i] for i in firing[:c]} for c in cuts}
                values = {
                    (c, s): correlation(set(firing[:c]), s)
                    for c in cuts
                    for s in nodes
                    if seen[c] & s
                }
                row[f"{kind}_mcc"] = max(values.values())
                row[f"{kind}_candidates"] = {
                    (tax.nodes[sets[s]], cut): auroc(z, np.isin(labels, list(s)))
                    for (cut, s), value in values.items()
                    if value > row[f"{kind}_mcc"] - 1e-9
                }
        rows.append(row)
    return rows


def random_taxonomy(random: np.random.Generator, n_classes: int) -> Taxonomy:
    """A graph with several parents, chains and classes above other classes."""
    parents: dict[str, list[str]] = {"n00": []}
    for i in range(1, 2 * n_classes):
        chosen = random.choice(i, min(i, 1 + (random.random() < 0.3)), replace=False)
        parents[f"n{i:02d}"] = [f"n{c:02d}" for c in chosen]
    leaves = random.choice(list(parents)[1:], n_classes, replace=False)
    return taxonomy_from_parents(leaves.tolist(), parents)


@pytest.mark.parametrize("seed", range(6))
def test_columns_agree_with_a_slow_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    tax = random_taxonomy(random, 9)
    labels = random.permutation(np.arange(153) % 9)
    liked = random.random((8, 9)) < random.choice([0.1, 0.3, 0.5], (8, 1))
    dense = random.integers(1, 6, (153, 8)) * (  # few values, so that ties abound
        random.random((153, 8)) < np.where(liked[:, labels].T, 0.5, 0.04)
    )
    dense[:, 0] = 0
    spec = replace(WHOLE, top_n=9, tau=0.75, rho=0.4, cutoffs=(3, 9, 20), null_draws=3, p_draws=5)
    result = score_dictionary(sparse(dense), labels, tax, spec)
    rows = result.latents.to_pylist()
    assert sum(row["status"] == "scored" for row in rows) >= 3
    for row, expected in zip(rows, reference(dense, labels, tax, spec), strict=True):
        for kind in ("best", "best_internal"):
            if candidates := expected.pop(f"{kind}_candidates", None):
                found = row[f"{kind}_wnid"], row[f"{kind}_cutoff"]
                assert found in candidates
                assert row[f"{kind}_auroc"] == pytest.approx(candidates[found], nan_ok=True)
        for name, value in expected.items():
            assert row[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    best = max(row["best_internal_mcc"] or -1 for row in rows)
    assert max(result.nodes["best_mcc"].to_pylist()) == best


@pytest.mark.parametrize("seed", range(3))
def test_permuted_null_is_the_score_of_relabelled_images(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many folds in a draw as in the score.
    monkeypatch.setattr("cladescope.scores.score.NULL_FOLDS", N_FOLDS)
    random = np.random.default_rng(seed)
    tax = random_taxonomy(random, 12)
    labels = random.permutation(np.arange(300) % 12)
    liked = random.random((20, 12)) < 0.25
    codes = sparse(
        random.random((300, 20))
        * (random.random((300, 20)) < np.where(liked[:, labels].T, 0.6, 0.03))
    )
    spec = replace(
        WHOLE, top_n=10, null_draws=8, p_draws=8, shuffle_draws=0, seed=seed, matched_latents=8,
        split_selection=seed > 0,
    )  # fmt: skip
    result = score_dictionary(codes, labels, tax, spec)
    plain = replace(spec, null_draws=0, p_draws=0, bootstrap_draws=0)
    moved = [
        score_dictionary(codes, permutation[labels], tax, plain)
        for permutation in islice(leaf_permutations(Tree.of(tax), seed), 8)
    ]
    for name in with_null(PERMUTED):
        key = f"{name}_null_permuted"
        if name == "ontological_coverage":  # needs the p-values of every draw
            continue
        drawn = np.array([m.scores[name] for m in moved], float)
        drawn = drawn[~np.isnan(drawn)]
        if result.scores[name] is None or not len(drawn):
            assert result.scores[key] is None
            continue
        assert result.scores[key] == pytest.approx(np.mean(drawn)), name
        assert result.scores[f"{key}_low"] == pytest.approx(np.percentile(drawn, 2.5)), name
        assert result.scores[f"{key}_high"] == pytest.approx(np.percentile(drawn, 97.5)), name
        observed = result.scores[name]
        tail = min((drawn <= observed + 1e-9).sum(), (drawn >= observed - 1e-9).sum())
        p_value = min(1, 2 * (1 + tail) / (1 + len(drawn)))
        assert result.scores[f"{key}_p"] == pytest.approx(p_value), name
    for name in ("purity", "leaf_recovery"):  # not changed by the draws, so without such a null
        assert {m.scores[name] for m in moved} == {result.scores[name]}
    drawn = np.array([m.nodes["best_mcc"].to_numpy() for m in moved])
    drawn = np.nan_to_num(drawn, nan=0)  # no latent fires on the node
    np.testing.assert_allclose(result.nodes["best_mcc_null_permuted"], drawn.mean(0), atol=1e-12)
    drawn = np.array([m.latents["pair_lch"].to_numpy() for m in moved])
    np.testing.assert_allclose(result.latents["pair_lch_null_permuted"], drawn.mean(0))


def test_p_values_by_a_slow_reference(world: Taxonomy) -> None:
    tree = Tree.of(world)
    heights = tree.pair_tables().height
    halves = halve(random_sets(30, 6, seed=2), LABELS, 64, 8)
    null = PairNull.of(halves, heights, leaf_permutations(tree, 3), 40, fdr=0)
    permutations = [*islice(leaf_permutations(tree, 3), 60_000)]
    images = halves.choose.label.reshape(30, -1)[:, :8]
    a, b = np.triu_indices(8, 1)
    of_other_classes = images[:, a] != images[:, b]
    sums = np.array(
        [
            (heights[p[images[:, a]], p[images[:, b]]] * of_other_classes).sum(1)
            for p in [np.arange(64), *permutations]
        ]
    )
    for latent, p_value in enumerate(null.p_value):
        low = sums[1:, latent] <= sums[0, latent]
        if low[:40].sum() >= 10:
            assert p_value == (1 + low[:40].sum()) / 41
        else:
            assert p_value == 10 / (1 + np.flatnonzero(low)[9])
    assert (null.p_value < 10 / 40).sum() > 2


# ---------------------------------------------------------------- known dictionaries


def test_latents_of_internal_nodes(world: Taxonomy) -> None:
    nodes = inner_nodes(world)
    sets = [np.flatnonzero(world.ancestors[:, node]) for node in nodes]
    result = score_dictionary(oracle(sets, LABELS), LABELS, world, WHOLE)
    scores = result.scores
    assert scores["coherent_share"] > 0.9
    assert scores["coherent_share_null_permuted"] < 0.05
    assert scores["coherent_share_null_shuffled"] == 0
    assert scores["node_recovery"] == 1
    assert scores["node_recovery_null_permuted"] < 0.05
    assert scores["own_best_recovery"] == 1
    assert scores["own_best_recovery_null_permuted"] < 0.05
    assert scores["node_recovery_above_null"] == 1
    assert scores["held_out"] > 0.5 > 0.1 > abs(scores["held_out_null_permuted"])
    assert scores["parent_given_child"] > 2 * scores["parent_rate"]
    # Its own latent is all that a node needs.
    assert scores["coalition_f1_5"] == pytest.approx(scores["coalition_f1_1"], abs=0.1)
    assert scores["significant_share"] > 0.9
    assert scores["pair_lch"] < scores["pair_lch_null_permuted_low"]
    assert scores["coverage_top"] > scores["coverage_top_null_permuted_high"]
    # MCC .77 at best for a firing probability of .6; each latent finds its own node.
    found = result.latents["best_internal_wnid"].to_pylist()
    assert np.mean([world.nodes[n] == wnid for n, wnid in zip(nodes, found, strict=True)]) > 0.95


def test_latents_of_leaves(world: Taxonomy) -> None:
    codes = oracle([{c} for c in range(64)], LABELS, inside=0.7, outside=0)
    result = score_dictionary(codes, LABELS, world, WHOLE)
    scores = result.scores
    for name in ("lch_height", "lch_tau_height", "coherent_share", "significant_share"):
        assert scores[name] == 0
    assert (scores["purity"], scores["leaf_recovery"], scores["single_class_share"]) == (1, 1, 1)
    assert scores["ontological_coverage"] == 0
    assert result.latents["best_wnid"].to_pylist() == list(world.leaves)
    # Firing on a whole leaf and no more is not evidence of hierarchy: p-values are missing.
    assert result.latents["p_value"].null_count == 64


def random_sets(n_latents: int, n_classes: int, seed: int) -> Codes:
    """Latents that fire on four images of each of some random classes."""
    random = np.random.default_rng(seed)
    image = []
    for latent in range(n_latents):
        for c in random.choice(64, n_classes, replace=False):
            image += [(i * 64 + c, latent) for i in random.choice(64, 4, replace=False)]
    image, latent = np.array(sorted(image), np.int32).T
    activation = random.random(len(image)).astype(np.float32) + 0.1
    return Codes(image, latent, activation, len(LABELS), n_latents)


def test_random_class_sets_are_like_their_null(world: Taxonomy) -> None:
    n_latents, draws = 2000, 199
    spec = replace(WHOLE, null_draws=50, p_draws=draws, shuffle_draws=0)
    result = score_dictionary(random_sets(n_latents, 8, seed=1), LABELS, world, spec)
    p = np.sort(result.latents["p_value"].to_numpy())
    # Dvoretzky-Kiefer-Wolfowitz: the distance from uniform exceeds this with probability 1e-3;
    # p-values are multiples of 1 / (1 + draws), which adds one step.
    bound = np.sqrt(np.log(2 / 1e-3) / (2 * n_latents)) + 1 / (1 + draws)
    assert np.abs(np.arange(1, n_latents + 1) / n_latents - p).max() < bound
    assert result.scores["significant_share"] == 0
    assert result.scores["ontological_coverage"] == 0
    for name in ("pair_lch", "lch_height", "coverage_top", "best_internal_mcc"):
        low, high = (result.scores[f"{name}_null_permuted_{end}"] for end in ("low", "high"))
        distance = abs(result.scores[name] - result.scores[f"{name}_null_permuted"])
        assert distance < (high - low), name  # about four standard deviations of a draw


# ---------------------------------------------------------------- invariance, limits, files


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_order_of_images_and_latents_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(60) % 4)
    dense = random.random((60, 6)) * (random.random((60, 6)) < 0.4)  # no ties
    images, latents = random.permutation(60), random.permutation(6)
    spec = replace(
        WHOLE, top_n=8, cutoffs=(4, 12), null_draws=5, p_draws=20, shuffle_draws=0,
        bootstrap_draws=0,
    )  # fmt: skip
    before = score_dictionary(sparse(dense), labels, SMALL, spec)
    after = score_dictionary(sparse(dense[images][:, latents]), labels[images], SMALL, spec)
    of_images = score_dictionary(sparse(dense[images]), labels[images], SMALL, spec)
    for key, value in before.scores.items():
        # On so few images latents tie for a node, and the first one is chosen.
        result = of_images if key.startswith(("held_out", "coalition")) else after
        assert result.scores[key] == pytest.approx(value), key
    rows = before.latents.drop_columns("latent").take(latents).to_pylist()
    assert after.latents.drop_columns("latent").to_pylist() == [
        {k: pytest.approx(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows
    ]


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_threads(
    world: Taxonomy, tmp_path: Path
) -> None:
    written = []
    spec = replace(QUICK, split_selection=True, top_n=8, bootstrap_draws=5)
    for threads in (1, 2, 5):
        found = score_dictionary(random_sets(20, 9, 3), LABELS, world, spec, threads=threads)
        found.save(folder := tmp_path / str(threads), "m")
        written.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert len(written[0]) == 7
    assert written[0] == written[1] == written[2]
    other = score_dictionary(random_sets(20, 9, seed=3), LABELS, world, replace(spec, seed=1))
    name = "pair_lch_null_permuted"
    assert other.scores[name] != json.loads(written[0]["scores.json"])[name]


def test_a_dictionary_without_scored_latents() -> None:
    none = np.zeros(0, np.int32)
    codes = Codes(none, none, np.zeros(0, np.float32), 8, 3)
    result = score_dictionary(codes, np.arange(8) % 4, SMALL, QUICK)
    assert result.latents["status"].to_pylist() == ["dead"] * 3
    assert (result.scores["n_dead"], result.scores["node_recovery"]) == (3, 0)
    assert [table.num_rows for table in (result.relations, result.edges)] == [0, 0]
    for name in ("lch_height", "pair_lch_null_permuted", "coherent_share"):
        assert result.scores[name] is None
    assert result.nodes["best_mcc"].null_count == 2


def test_bad_input_is_named_in_full() -> None:
    codes = Codes(
        np.array([1, 0, 9], np.int32),
        np.array([0, 0, 7], np.int32),
        np.array([1, 0, 1], np.float32),
        8,
        3,
    )
    with pytest.raises(ValueError, match="not sorted") as error:
        score_dictionary(codes, np.arange(8), SMALL)
    for part in ("labels outside 0..3", "outside 0..7", "outside 0..2", "not above 0"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match=r"tau .* rho .* top_n"):
        ScoreSpec(tau=0.5, rho=0, top_n=1)


def test_scoring_does_not_load_heavy_modules() -> None:
    code = "import sys, cladescope.scores; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "workflow" / "lib")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"torch", "pandas", "zarr", "nltk", "scipy", "seaborn"} & set(modules)


def test_docs_define_every_column() -> None:
    result = score_dictionary(sparse(np.ones((8, 1))), np.arange(8) % 4, SMALL, QUICK)
    schemas = {
        "latents": LATENT_SCHEMA,
        "nodes": NODE_SCHEMA,
        "sizes": SIZE_SCHEMA,
        "relations": RELATION_SCHEMA,
        "edges": EDGE_SCHEMA,
        "sensitivity": SENSITIVITY_SCHEMA,
    }
    documented = documented_names()
    for table, schema in schemas.items():
        assert getattr(result, table).schema == schema
        assert documented[f"`{table}.parquet`"] == schema.names
    scores = documented["`scores.json`"]
    for suffix, names in documented_suffixes().items():
        scores += [f"{name}{suffix}" for name in names]
    assert sorted(scores) == sorted(result.scores)


def test_docs_and_results_list_the_scores_of_names_py() -> None:
    result = score_dictionary(sparse(np.ones((8, 1))), np.arange(8) % 4, SMALL, QUICK)
    columns = [column for score in SCORES.values() for column in score.columns]
    assert sorted(columns) == sorted(result.scores)
    assert sorted(documented_names()["`scores.json`"]) == sorted(SCORES)
    units = documented_units()
    assert {name: units[name] for name in SCORES} == {name: WORDS[name].unit for name in SCORES}
    for suffix, names in documented_suffixes().items():
        having = [name for name, score in SCORES.items() if f"{name}{suffix}" in score.columns]
        assert names == having, suffix
    for score in SCORES.values():
        assert not score.column or score.column in LATENT_SCHEMA.names
    assert len({words.label for words in WORDS.values()}) == len(WORDS)


def documented_names() -> dict[str, list[str]]:
    """Names in the first column of the tables of docs/scores.md, by the title of the section."""
    text = (ROOT / "docs" / "scores.md").read_text()
    documented = {}
    for section in text.split("\n## ")[1:]:
        rows = re.findall(r"^\| `([^|]*)` \|", section.split("\n### ")[0], flags=re.MULTILINE)
        documented[section.splitlines()[0]] = [name for row in rows for name in row.split("`, `")]
    return documented


def documented_units() -> dict[str, str]:
    """The unit of each score, by the table of `scores.json` in docs/scores.md."""
    section = (ROOT / "docs" / "scores.md").read_text().split("\n## `scores.json`")[1]
    rows = re.findall(r"^\| `([^|]*)` \|.*\| ([^|]*?) ?\|$", section, flags=re.MULTILINE)
    return {name: unit for names, unit in rows for name in names.split("`, `")}


def documented_suffixes() -> dict[str, list[str]]:
    """The scores that have each column with a suffix, by the list in docs/scores.md."""
    section = (ROOT / "docs" / "scores.md").read_text().split("\n## Intervals and nulls")[1]
    rows = re.findall(r"^\| ((?:`_\w+`(?:, )?)+) \|.*\| ([^|]*) \|$", section, flags=re.MULTILINE)
    return {
        suffix: re.findall(r"`(\w+)`", names)
        for suffixes, names in rows
        for suffix in re.findall(r"`(_\w+)`", suffixes)
    }


# ---------------------------------------------------------------- two halves


def test_choices_of_one_half_are_measured_on_the_other() -> None:
    random = np.random.default_rng(5)
    tax = random_taxonomy(random, 9)
    labels = random.permutation(np.concatenate([np.arange(396) % 9, np.zeros(20, int)]))
    liked = random.random((12, 9)) < 0.3
    dense = random.random((416, 12)) * (
        random.random((416, 12)) < np.where(liked[:, labels].T, 0.6, 0.1)
    )
    spec = replace(WHOLE, top_n=12, cutoffs=(10, 30), null_draws=0, p_draws=0, shuffle_draws=0)
    split = replace(spec, split_selection=True)
    # Of each class 44 images, as many as all but one have.
    first, second = split_halves(labels, spec.seed)
    assert not (first & second).any()
    assert np.bincount(labels[first]).tolist() == np.bincount(labels[second]).tolist() == [22] * 9
    rows = score_dictionary(sparse(dense), labels, tax, split).latents.to_pylist()
    alone = score_dictionary(sparse(dense[first]), labels[first], tax, spec).latents.to_pylist()
    under = {wnid: tax.ancestors[labels[second], n] for n, wnid in enumerate(tax.nodes)}
    compared = 0
    for latent, (row, choice) in enumerate(zip(rows, alone, strict=True)):
        if row["status"] != "scored":
            continue
        for name in ("lch_wnid", "lch_tau_height", "top_class", "best_wnid", "best_internal_wnid"):
            assert row[name] == choice[name]
        z = dense[second][:, latent]
        order = np.argsort(-z, kind="stable")[: np.count_nonzero(z)]
        # A cut-off in images stays, "every image that fires" is another number on the other half.
        cut = choice["best_cutoff"] if choice["best_cutoff"] in spec.cutoffs else len(order)
        above = np.isin(np.arange(len(z)), order[:cut])
        expected = np.corrcoef(above, under[choice["best_wnid"]])[0, 1]
        assert (row["best_cutoff"], row["best_mcc"]) == (cut, pytest.approx(expected))
        top = order[: spec.top_n]
        assert row["lch_tau_share"] == under[choice["lch_tau_wnid"]][top].mean()
        assert row["purity"] == np.mean(
            np.array(tax.leaves)[labels[second][top]] == row["top_class"]
        )
        compared += 1
    assert compared >= 8


def test_two_halves_take_the_gain_from_choosing_away(world: Taxonomy) -> None:
    # Random images: the best of 41 nodes and several cut-offs looks better than nothing.
    spec = replace(WHOLE, null_draws=0, p_draws=0, shuffle_draws=3)
    codes = random_sets(200, 12, seed=7)
    one, two = (
        score_dictionary(
            codes, LABELS, world, replace(spec, top_n=16, split_selection=split)
        ).scores
        for split in (False, True)
    )
    for null in ("shuffled", "random"):
        assert one[f"best_internal_mcc_null_{null}"] > 0.03
        assert abs(two[f"best_internal_mcc_null_{null}"]) < 0.005


def test_matched_recovery_is_the_mean_over_subsets() -> None:
    # Nodes p and q of SMALL: p has two finders among four latents, q has one. Of the six pairs of
    # latents five hold a finder of p, three one of q: (5/6 + 3/6) / 2 = 2/3.
    labels = np.tile(np.arange(4), 10)
    dense = np.zeros((40, 4))
    dense[np.isin(labels, [0, 1]), 0] = 1
    dense[np.isin(labels, [0, 1]), 1] = 1
    dense[np.isin(labels, [2, 3]), 2] = 1
    dense[:, 3] = 1
    spec = replace(WHOLE, top_n=8, matched_latents=2, null_draws=0, p_draws=0, shuffle_draws=0)
    result = score_dictionary(sparse(dense), labels, SMALL, spec)
    assert dict(
        zip(*(result.nodes[n].to_pylist() for n in ("wnid", "n_finders")), strict=True)
    ) == {
        "p": 2,
        "q": 1,
    }
    assert result.scores["node_recovery_matched"] == pytest.approx(2 / 3)


def test_absorption_splitting_and_relations_by_hand() -> None:
    # Latent 0 is p's but misses the images 0-9 of a, on which latent 1, a's, fires; so 10 of the 20
    # images of a with latent 1 on are absorbed, and none of b's are missed. Latent 2 is b's and
    # fires within latent 0.
    tree = taxonomy_from_parents(
        [*"abcdef"], {"r": [], "p": ["r"], "q": ["r"], **{c: ["pq"[c > "b"]] for c in "abcdef"}}
    )
    labels = np.repeat(np.arange(6), 20)
    dense = np.zeros((120, 3))
    dense[10:40, 0] = 1
    dense[:20, 1] = 1
    dense[20:40, 2] = 1
    # A latent of one of p's two classes has an MCC of .63 with p, latent 0 one of .82.
    spec = replace(WHOLE, top_n=10, cutoffs=(10,), null_draws=0, p_draws=0, mcc_threshold=0.7)
    result = score_dictionary(sparse(dense), labels, tree, spec)
    edges = {row["child_wnid"]: row for row in result.edges.to_pylist()}
    assert set(edges) == {"a", "b"}
    assert (edges["a"]["parent_latent"], edges["a"]["child_latent"]) == (0, 1)
    assert (edges["a"]["absorption"], edges["a"]["parent_misses"]) == (0.5, 0.0)
    assert (edges["b"]["absorption"], edges["b"]["parent_misses"]) == (0.0, 0.5)
    assert (result.scores["absorption"], result.scores["splitting"]) == (0.25, 0.0)
    (relation,) = result.relations.to_pylist()
    assert (relation["child"], relation["parent"], relation["containment"]) == (2, 0, 1.0)
    assert (relation["child_wnid"], relation["parent_wnid"]) == ("b", "p")
    assert relation["consistent"] is True
    # Without latent 0 nobody recovers p, though both of its children are: split.
    parts = score_dictionary(sparse(dense[:, 1:]), labels, tree, spec).scores
    assert (parts["splitting"], parts["n_edges"]) == (1.0, 0)


@pytest.mark.parametrize("sizes", [[8, 4, 8, 1], [8, 4, 8, 0]])
def test_classes_that_cannot_be_levelled_have_no_permuted_null(sizes, caplog) -> None:
    labels = np.repeat(np.arange(4), sizes)
    codes = sparse(np.ones((len(labels), 1)))
    spec = replace(QUICK, split_selection=True, null_draws=5, p_draws=20)
    found = score_dictionary(codes, labels, SMALL, spec)
    assert f"d: {sizes[3]} images, where the largest class has 8" in caplog.text
    assert found.scores["n_images"] == sum(sizes)
    assert found.scores["node_recovery"] is not None
    missing = ["node_recovery_null_permuted", "held_out_null_permuted", "significant_share"]
    missing += ["ontological_coverage", "n_hierarchical"]
    assert {found.scores[name] for name in missing} == {None}
    assert found.latents["p_value"].null_count == found.latents.num_rows


def test_of_every_class_as_many_images_are_scored(caplog: pytest.LogCaptureFixture) -> None:
    codes, labels = sparse(np.ones((24, 1))), np.repeat(np.arange(4), [4, 4, 8, 8])
    scores = score_dictionary(codes, labels, SMALL, replace(QUICK, split_selection=True)).scores
    assert scores["n_images"] == 16
    assert "16 of 24 images are scored, 33% are left out" in caplog.text
    # No class has less than half of the median, six.
    assert "the median class" not in caplog.text and scores["n_hierarchical"] == 0
    labels = np.repeat(np.arange(4), [2, 5, 8, 9])
    score_dictionary(codes, labels, SMALL, replace(QUICK, split_selection=True))
    assert "8 of 24 images are scored, 67% are left out" in caplog.text
    assert "the median class has 6.5 images; 1 classes have less than half" in caplog.text
    assert "a (2); add images" in caplog.text


def test_mcc_is_compared_beyond_the_last_bits() -> None:
    # Node p has a and b, 8 of 20 images. Latent 0 fires on 4 of them: 20*4 - 4*8 = 48, divided by
    # sqrt(4*16*8*12); latent 1 on 7 of them and 3 others: 20*7 - 10*8 = 60 / sqrt(10*10*8*12).
    # Both are sqrt(3/8); rounded, the second is larger by one bit.
    tree = taxonomy_from_parents(
        [*"abcde"], {"r": [], "p": ["r"], "q": ["r"], **{c: ["pq"[c > "b"]] for c in "abcde"}}
    )
    labels = np.repeat(np.arange(5), 4)
    dense = np.zeros((20, 2))
    dense[[0, 1, 4, 5], :] = 2
    dense[[2, 3, 6, 8, 12, 16], 1] = 1
    spec = replace(WHOLE, top_n=4, cutoffs=(4,), null_draws=0, p_draws=0, shuffle_draws=0)
    result = score_dictionary(sparse(dense), labels, tree, spec)
    # Latent 1's four strongest images are as good as its ten: the smaller cut-off.
    assert result.latents["best_cutoff"].to_pylist() == [4, 4]
    result = score_dictionary(sparse(dense), labels, tree, replace(spec, cutoffs=(10,)))
    assert result.latents["best_internal_cutoff"].to_pylist() == [4, 10]
    best = dict(zip(*(result.nodes[n].to_pylist() for n in ("wnid", "best_latent")), strict=True))
    assert best["p"] == 0


def test_an_mcc_of_exactly_the_threshold_recovers() -> None:
    # 4 of 12 images are under p; the latent fires on these and on 4 of the other 8: 12*4 - 8*4 =
    # 16 / sqrt(8*4*4*8) = 1/2; rounded, .4999999999999999.
    tree = taxonomy_from_parents(
        [*"abcdef"], {"r": [], "p": ["r"], "q": ["r"], **{c: ["pq"[c > "b"]] for c in "abcdef"}}
    )
    labels = np.repeat(np.arange(6), 2)
    dense = np.zeros((12, 1))
    dense[[0, 1, 2, 3, 4, 6, 8, 10], 0] = 1
    spec = replace(WHOLE, top_n=4, cutoffs=(8,), null_draws=0, p_draws=0, shuffle_draws=0)
    nodes = score_dictionary(sparse(dense), labels, tree, spec).nodes.to_pylist()
    assert [node["recovered"] for node in nodes if node["wnid"] == "p"] == [True]
