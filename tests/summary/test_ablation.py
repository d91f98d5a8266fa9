"""The table and the figure of ablation, from rows made by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from cladescope.causes.kinds import (
    CHOSEN,
    DIRECTIONS,
    MEASURES,
    PERMUTED,
    PROJECTED,
    PROJECTED_PERMUTED,
    REARRANGED,
    TAKING,
)
from cladescope.summary.ablation import summarise
from cladescope.summary.figures.ablation import plot_ablation

ABOUT = {"readout": "head", "accuracy": 0.8, "n_images": 6, "n_copies": 9, "tpp": {"1": 0.3}}
LEVEL = {kind: number / 10 for number, kind in enumerate(TAKING, start=1)}


@pytest.fixture
def rows():
    """Two nodes of two classes and one of twenty; node n has its kind's level plus n hundredths."""
    return pd.DataFrame(
        {"wnid": f"n{node}", "name": "", "n_leaves": leaves, "n_latents": n, "kind": kind}
        | {"draw": 1 if kind in REARRANGED else None}
        | dict.fromkeys(MEASURES, LEVEL[kind] + node / 100)
        for (node, leaves), n, kind in product(enumerate((2, 2, 20)), (1, 5), TAKING)
    )


def test_means_are_over_the_nodes_of_a_size(rows):
    found = {(row["n_latents"], row["size"]): row for row in summarise(rows, ABOUT, 200, 0)}
    whole, pairs = found[1, "all"], found[1, "2"]
    assert (whole["n_nodes"], pairs["n_nodes"], found[1, "3"]["n_nodes"]) == (3, 2, 0)
    assert whole["selectivity"] == pytest.approx(LEVEL[CHOSEN] + 0.01)
    assert pairs["selectivity"] == pytest.approx(LEVEL[CHOSEN] + 0.005)
    assert whole["selectivity_null_directions"] == pytest.approx(LEVEL[DIRECTIONS] + 0.01)
    assert whole["projected"] == pytest.approx(LEVEL[PROJECTED] + 0.01)
    # Every node has the same difference, so that it does not matter which are drawn.
    difference = LEVEL[CHOSEN] - LEVEL[DIRECTIONS]
    for end in ("", "_low", "_high"):
        assert whole[f"selectivity_excess{end}"] == pytest.approx(difference)
    assert whole["selectivity_low"] < whole["selectivity"] < whole["selectivity_high"]
    assert whole["tpp"] == 0.3 and found[5, "all"]["tpp"] is None and pairs["tpp"] is None
    assert found[1, "3"]["selectivity"] is None
    assert whole["readout"] == "head"


def test_a_permuted_null_is_averaged_over_its_draws(rows):
    """Draws that differ by .02 of one node of three, so by .02 / 3 of the mean over nodes."""
    (one, *_) = summarise(rows, ABOUT, 10, 0)
    assert one["selectivity_null_permuted_sd"] is None, "one draw says nothing of others"
    second = rows[rows["kind"].isin(REARRANGED)].assign(draw=2)
    second.loc[second["wnid"] == "n2", "selectivity"] += 0.02
    (two, *_) = summarise(pd.concat([rows, second]), ABOUT, 10, 0)
    for name, kind in (("selectivity", PERMUTED), ("projected", PROJECTED_PERMUTED)):
        mean = LEVEL[kind] + 0.01 + 0.02 / 3 / 2
        assert two[f"{name}_null_permuted"] == pytest.approx(mean)
        # Of two numbers: their difference over √2.
        assert two[f"{name}_null_permuted_sd"] == pytest.approx(0.02 / 3 / np.sqrt(2))
    same = ("selectivity", "selectivity_low", "selectivity_null_matched", "n_nodes")
    assert [two[name] for name in same] == [one[name] for name in same]


def test_a_measure_that_a_node_lacks_is_left_out_of_its_mean(rows):
    chosen = rows["kind"] == CHOSEN
    rows.loc[chosen & (rows["wnid"] == "n2"), "evenness"] = np.nan
    (row, *_) = summarise(rows, ABOUT, 10, 0)
    assert row["evenness"] == pytest.approx(LEVEL[CHOSEN] + 0.005)


def test_figure_has_a_panel_for_each_measure_and_number_of_latents(rows):
    parts = []
    for layer, variant, weights in (
        (4, "topk", "file"),
        (8, "topk", "file"),
        (8, "topk", "random"),
    ):
        arm = {"layer": layer, "variant": variant, "weights": weights, "token": "cls"}
        parts.append(pd.DataFrame(summarise(rows, ABOUT, 10, 0)).assign(**arm))
    figure = plot_ablation(pd.concat(parts))
    assert len(figure.axes) == 6
    assert [text.get_text() for text in figure.legends[0].get_texts()].count("permuted (null)") == 1
    assert len(plot_ablation(pd.concat(parts).iloc[:0]).axes) == 0
