"""Statements over dictionaries, from tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.scores.recurrence import match_seeds
from cladescope.summary.drawn import contrast_drawn
from cladescope.summary.trends import (
    DIRECTED,
    across_layers,
    between_kinds,
    by_library,
    over_depth,
    over_seeds,
    over_start,
    seed_margin,
    spearman,
)


def table(rows: list[dict]) -> pd.DataFrame:
    arm = {"experiment": "e", "dataset": "d", "model": "m", "weights": "file", "token": "cls"}
    kind = {"variant": "topk", "width": 8, "sparsity": 2, "seed": 0, "layer": 1}
    quality = {"fve": 0.5, "l0": 2.0}
    return pd.DataFrame(
        [{**arm, **kind, **quality, **dict.fromkeys(DIRECTED, 0.0), **r} for r in rows]
    )


def row(frame: pd.DataFrame, **values: object) -> pd.Series:
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_mean_and_spread_over_seeds() -> None:
    metrics = table([{"seed": seed, "purity": value} for seed, value in enumerate((1, 2, 6))])
    found = row(over_seeds(metrics), score="purity")
    # Mean 3; deviations -2, -1, 3: sum of squares 14, over 2.
    assert (found["n_seeds"], found["mean"], found["min"], found["max"]) == (3, 3, 1, 6)
    assert found["sd"] == pytest.approx(np.sqrt(7))
    # The 97.5% point of Student's t with two degrees of freedom is 4.302653.
    margin = 4.302653 * np.sqrt(7 / 3)
    assert (found["low"], found["high"]) == pytest.approx((3 - margin, 3 + margin))
    two = row(over_seeds(metrics[:2]), score="purity")
    assert two["n_seeds"] == 2 and np.isnan(two["low"]) and np.isnan(two["high"])


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_interval_over_seeds_covers_in_4000_studies(n_seeds) -> None:
    values = np.random.default_rng(n_seeds).normal(0.2, 0.03, (4000, n_seeds))
    margin = seed_margin(values.std(1, ddof=1), np.full(4000, n_seeds))
    assert 0.94 <= (np.abs(values.mean(1) - 0.2) <= margin).mean() <= 0.96


def test_what_training_adds_is_paired_by_seed() -> None:
    null = "held_out_null_permuted"
    rows = [
        {"variant": "start", "seed": 0, "held_out": 0.2, null: 0.0, "fve": 0.1},
        {"variant": "start", "seed": 1, "held_out": 0.3, null: 0.1, "fve": 0.1},
        {"seed": 0, "held_out": 0.5, null: 0.0, "fve": 0.9},
        {"seed": 1, "held_out": 0.4, null: 0.0, "fve": 0.7},
        # No start of that seed, none of that sparsity, and nothing that was trained.
        {"seed": 2, "held_out": 9.0, null: 0.0},
        {"seed": 0, "sparsity": 4, "held_out": 9.0, null: 0.0},
        {"variant": "kmeans", "seed": 0, "held_out": 9.0, null: 0.0},
    ]
    gains = over_start(table(rows))
    found = row(gains, score="held_out")
    # .5 − .2 and .4 − .3; beyond the nulls .3 and .4 − (.3 − .1).
    assert (found["n_seeds"], found["variant"]) == (2, "topk")
    assert [found[name] for name in ("gain", "min", "max", "gain_over_null")] == pytest.approx(
        [0.2, 0.1, 0.3, 0.25]
    )
    assert np.isnan(found["low"])
    more = over_start(table([*rows, {"variant": "start", "seed": 2, "held_out": 8.5, null: 0.0}]))
    three = row(more, score="held_out")
    # Gains of .3, .1 and .5: their deviation is .2.
    assert three["high"] - three["gain"] == pytest.approx(4.302653 * 0.2 / np.sqrt(3))
    assert row(gains, score="fve")["gain"] == pytest.approx(0.7)
    assert over_start(table([{"seed": 0}])).empty
    assert row(over_seeds(table(rows[2:4])), score="held_out")["excess"] == pytest.approx(0.45)


def test_rank_correlation_by_hand() -> None:
    # Ranks 1 2 3 4 and 1 2.5 2.5 4: covariance 4.5, variances 5 and 4.5.
    values = spearman(np.array([1, 2, 4, 8]), np.array([[0, 3, 3, 9], [1, 1, 1, 1]]))
    assert values.tolist() == pytest.approx([4.5 / np.sqrt(5 * 4.5), 0])


def test_trend_and_first_layer_beyond_the_null() -> None:
    # One-sided .025 and .01 of four layers: adjusted .05 and .04.
    # Recovery grows; block 2 exceeds its null with one seed only, block 3 with both. Pair-LCH is
    # on the wrong side of its null, however small the p-value.
    rows = []
    for seed in (0, 1):
        for layer, value, p in (
            (1, 0.1, 0.9),
            (2, 0.2, 0.02 + seed / 2),
            (3, 0.3, 0.05),
            (4, 0.5, 0.02),
        ):
            row_ = {"layer": layer, "seed": seed, "node_recovery": value}
            row_ |= {"node_recovery_high": value + 0.01, "node_recovery_null_permuted": 0.05}
            row_ |= {"node_recovery_null_permuted_p": p, "pair_lch": 6.0}
            row_ |= {"pair_lch_null_permuted": 5.0, "pair_lch_null_permuted_p": 0.001}
            rows.append(row_)
    trends = over_depth(table(rows), level=0.05, draws=100)
    found = row(trends, score="node_recovery")
    assert (found["correlation"], found["n_layers"], found["n_seeds"]) == (1, 4, 2)
    assert found["correlation_low"] > 0.9
    assert (found["first_layer"], found["n_layers_beyond"]) == (3, 2)
    assert np.isnan(row(trends, score="pair_lch")["first_layer"])
    # 1/101 is the least p-value: times 4 it is below the level.
    assert found["n_layers_needed"] == 1


@pytest.mark.parametrize(
    ("n_layers", "needed", "beyond"), [(3, 1, 1), (5, 1, 1), (6, 2, 0), (40, 8, 0)]
)
def test_one_layer_alone_against_the_number_of_draws(n_layers, needed, beyond) -> None:
    """Recovery .60 against .29 at the last layer, in no draw of 100 as high: p is 2/101."""
    rows = [
        {"layer": layer, "node_recovery": 0.6 if layer == n_layers else 0.2}
        | {"node_recovery_null_permuted": 0.29}
        | {"node_recovery_null_permuted_p": 2 / 101 if layer == n_layers else 1.0}
        for layer in range(1, n_layers + 1)
    ]
    found = row(over_depth(table(rows), level=0.05, draws=100), score="node_recovery")
    assert found["n_layers_needed"] == needed
    assert found["n_layers_beyond"] == beyond
    # So many more draws, and one is enough.
    draws = n_layers * 20
    assert row(over_depth(table(rows), 0.05, draws), score="purity")["n_layers_needed"] == 1


def test_a_baseline_is_one_kind_whatever_the_widths_of_its_layers() -> None:
    rows = [
        {"layer": layer, "variant": "neurons", "width": 8 * layer, "sparsity": np.nan}
        | {"seed": np.nan, "node_recovery": layer / 10}
        for layer in (1, 2, 3)
    ]
    trends = over_depth(across_layers(table(rows)), level=0.05, draws=100)
    found = row(trends, score="node_recovery")
    assert (found["n_layers"], found["correlation"]) == (3, 1)
    assert np.isnan(found["width"])


def test_dictionaries_of_a_library_are_one_kind_under_whatever_names() -> None:
    """Of one layer each; and what is not imported stays what it is."""
    rows = [{"layer": layer, "lch_height": -layer, "variant": f"l{layer}"} for layer in (1, 2, 3)]
    theirs = table(rows).assign(library="prisma", width=64, sparsity=8, seed=None)
    kinds = by_library(across_layers(pd.concat([table(rows), theirs])))
    trends = over_depth(kinds, level=0.05, draws=100)
    found = row(trends, variant="prisma", score="lch_height")
    assert (found["width"], found["sparsity"], found["n_layers"]) == (64, 8, 3)
    assert found["correlation"] == -1
    assert by_library(table(rows)).equals(table(rows))


def test_noise_widens_the_interval_of_a_trend() -> None:
    rows = [
        {"layer": layer, "purity": layer / 100, "purity_high": layer / 100 + error}
        | {"coverage": layer / 100, "coverage_high": layer / 100}
        for layer, error in zip(range(1, 7), [0.5] * 6, strict=True)
    ]
    trends = over_depth(table(rows), level=0.05, draws=100)
    assert row(trends, score="purity")["correlation_low"] < 0
    assert row(trends, score="coverage")["correlation_low"] == 1


def test_a_trend_without_intervals_has_none() -> None:
    rows = [{"layer": layer, "lch_height": layer} for layer in range(1, 7)]
    trend = row(over_depth(table(rows), level=0.05, draws=100), score="lch_height")
    assert trend["correlation"] == 1
    assert np.isnan([trend["correlation_low"], trend["correlation_high"]]).all()


def test_kinds_that_differ_in_l0_alone_are_equal_when_matched() -> None:
    # The score is log2(L0) for either variant, and one more for the wider one; batchtopk runs at
    # twice the L0 of topk. FVE does not overlap.
    rows = []
    for variant, factor, fve in (("topk", 1, 0.2), ("batchtopk", 2, 0.7)):
        for sparsity in (2, 4, 8):
            rows.append(
                {"variant": variant, "sparsity": sparsity, "l0": factor * sparsity}
                | {"purity": np.log2(factor * sparsity), "fve": fve + sparsity / 100}
            )
    found = between_kinds(table(rows))
    names = {"first": "topk width 8", "second": "batchtopk width 8", "score": "purity"}
    assert row(found, basis="raw", **names)["difference"] == pytest.approx(-1)
    assert row(found, basis="l0", **names)["difference"] == pytest.approx(0)
    assert found[(found["basis"] == "fve") & (found["first"] == names["first"])].empty


def test_latents_of_another_seed_are_found_again(tmp_path) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((6, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    other = rows[[3, 2, 1, 0]]  # two rows are new
    zeros = np.zeros(64, np.float32)
    for name, decoder in (("a", rows), ("b", other), ("alone", rows)):
        dictionary = Dictionary(
            decoder, np.zeros(len(decoder), np.float32), decoder, zeros, zeros, 1.0, k=2
        )
        dictionary.save(tmp_path / f"{name}.safetensors", {})
    files = {name: str(tmp_path / f"{name}.safetensors") for name in ("a", "b", "alone")}
    match_seeds([{"a": files["a"], "b": files["b"]}, {"alone": files["alone"]}], tmp_path / "r")
    found = pd.read_parquet(tmp_path / "r")
    assert found[found["dictionary"] == "a"]["recurrence"].tolist() == [1, 1, 1, 1, 0, 0]
    assert found[found["dictionary"] == "b"]["recurrence"].tolist() == [1, 1, 1, 1]
    known = found[found["dictionary"] == "a"]
    assert known["seed_similarity"].tolist()[:4] == pytest.approx([1] * 4)
    assert known["seed_similarity_null"].max() < 0.6
    # One to one: nothing is left for the two new rows.
    assigned = known["seed_similarity_assigned"]
    assert assigned.tolist()[:4] == pytest.approx([1] * 4) and assigned[4:].isna().all()
    alone = found[found["dictionary"] == "alone"]
    assert alone["n_other_seeds"].eq(0).all()
    assert alone["recurrence"].isna().all()


def test_drawn_nodes_are_compared_at_their_size() -> None:
    # Sizes 2-3: drawn 1 and 0, undrawn 0; weight 2 * 1 / 3, difference 1/2. Sizes 16-31: drawn 1,
    # undrawn 1; weight 1/2, difference 0. Size 7: no drawn node. (1/3) / (2/3 + 1/2) = 2/7.
    sizes = {"d2": 2, "d3": 3, "d20": 20, "u2": 2, "u30": 30, "u7": 7}
    hits = {"d2": True, "d3": False, "d20": True, "u2": False, "u30": True, "u7": True}
    nodes = pd.DataFrame(
        {
            "dictionary": "x",
            "wnid": list(sizes),
            "n_leaves": list(sizes.values()),
            "recovered": [hits[w] for w in sizes],
            "recovered_null_permuted": 0.1,
        }
    )
    drawn = pd.DataFrame({"wnid": list(sizes), "drawn": [w[0] == "d" for w in sizes]})
    found = contrast_drawn(nodes, table([{"dictionary": "x"}]), drawn).iloc[0]
    assert (found["n_drawn"], found["n_undrawn"], found["n_matched"]) == (3, 3, 5)
    assert found["recovered_drawn"] == pytest.approx(2 / 3)
    assert found["matched_difference"] == pytest.approx(2 / 7)
    assert found["matched_difference_null_permuted"] == pytest.approx(0)
    assert found["matched_difference_low"] <= 2 / 7 <= found["matched_difference_high"]
