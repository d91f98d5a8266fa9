"""Answers to pairs of images, as they are drawn and gathered."""

import pandas as pd
import pytest

from cladescope.summary.figures.base import BASELINES, LIKE_RATE, RANDOM, TRAINED
from cladescope.summary.figures.pairs import PANELS, answers_by_layer, plot_pairs
from cladescope.summary.tables import read_csv, tabulate_rows

IDENTITY = {"experiment": "mine", "dataset": "d", "model": "m", "token": "cls", "layer": 4}


@pytest.fixture
def pairs() -> pd.DataFrame:
    """Two seeds of a trained dictionary, k-means, and a random backbone."""
    rows = []
    for variant, weights, seed, value in (
        ("topk", "file", 0, 0.4),
        ("topk", "file", 1, 0.6),
        ("kmeans", "file", 0, 0.3),
        ("topk", "random", 0, 0.1),
    ):
        for nodes, latents in (("shared", "best"), ("all", "best"), ("shared", "coalition")):
            row = {**IDENTITY, "variant": variant, "weights": weights, "seed": seed}
            row |= {"nodes": nodes, "latents": latents, "change": "shared", "answer": value}
            row |= {"answer_random": 0.01, "flips": 0.2, "flips_random": 0.1}
            rows.append(row if nodes == "shared" and latents == "best" else {**row, "answer": 9.0})
    return pd.DataFrame(rows)


def test_lines_are_of_the_best_latents_with_their_controls(pairs):
    table = answers_by_layer(pairs)
    assert {*table["panel"]} == {PANELS[0].title}
    drawn = table.set_index(["series", "seed"])["value"]
    assert drawn[TRAINED].tolist() == [0.4, 0.6] and drawn[LIKE_RATE].tolist() == [0.01, 0.01]
    assert drawn[BASELINES["kmeans"]].tolist() == [0.3] and drawn[RANDOM].tolist() == [0.1]
    two = pd.concat([pairs, pairs.assign(token="mean")])
    assert {*answers_by_layer(two)["panel"]} == {f"{t}\n{PANELS[0].title}" for t in ("cls", "mean")}
    assert len(plot_pairs(pairs).axes) == 1
    assert plot_pairs(pairs.assign(change="other", nodes="all")).texts


def test_rows_say_whose_they_are(pairs, tmp_path):
    made = pd.DataFrame({"git_commit": ["1e5"]}, index=["mine/a"])
    (tmp_path / "a").mkdir()
    pairs[["nodes", "latents", "change", "answer"]].to_parquet(tmp_path / "a" / "pairs.parquet")
    identity = {"dictionary": "mine/a", **IDENTITY}
    path = tmp_path / "pairs.csv"
    tabulate_rows([identity], [str(tmp_path / "a" / "pairs.parquet")], made, path)
    table = read_csv(path)
    assert len(table) == len(pairs) and {*table["git_commit"]} == {"1e5"}
    assert [*table.columns[:6]] == [*identity] and {*table["dictionary"]} == {"mine/a"}
