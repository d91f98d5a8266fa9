"""The table, the figure and the page of what codes are good for, from rows made by hand."""

import numpy as np
import pandas as pd
import pytest

from cladescope.summary.figures.uses import CHANCE, OF_BYTES, plot_uses
from cladescope.summary.uses import summarise, uses_section

ABOUT = {"n_images": 8, "n_queries": 4, "nonzeros": 2.0, "components": 4}
DRAWS = {"few_shots": (0, 1), "transfer": (0, 1)}


@pytest.fixture
def rows() -> pd.DataFrame:
    """Of each unit u the codes have .5 + u/100, a tenth more in the second draw; raw .1 less."""
    measures = [("retrieval", "map", level, None) for level in ("leaf", "family", "domain")]
    measures += [("retrieval", "precision_10", "leaf", None)]
    measures += [("retrieval", "lch_height_contracted", "leaf", None)]
    measures += [
        ("few_shots", "balanced_accuracy", level, n)
        for level in ("leaf", "family", "domain")
        for n in (1, 4)
    ]
    measures += [("transfer", "auroc", "node", n) for n in (1, 4)]
    measures += [("sparse_probes", "balanced_accuracy", "node", n) for n in (1, 4)]
    made = []
    for task, measure, level, n in measures:
        for draw in DRAWS.get(task, (None,)):
            for unit, leaves in enumerate((2, 2, 20)):
                value = 0.5 + unit / 100 + 0.1 * (draw or 0)
                made.append(
                    {"task": task, "measure": measure, "level": level, "n": n, "draw": draw}
                    | {"wnid": f"n{unit}", "name": "", "n_leaves": leaves, "codes": value}
                    | {"raw": value - 0.1, "pca": 0.2, "chance": 0.1}
                    | {"codes_null_permuted": 0.3}
                )
    return pd.DataFrame(made)


def test_means_are_over_draws_and_then_over_units(rows) -> None:
    found = {
        (row["task"], row["level"], row["n"], row["size"]): row
        for row in summarise(rows, ABOUT, 200, 0)
        if row["measure"] in ("map", "balanced_accuracy", "auroc")
    }
    (shot,) = [row for key, row in found.items() if key[:3] == ("few_shots", "leaf", 4)]
    assert (shot["n_units"], shot["codes"]) == (3, pytest.approx(0.56))
    assert shot["codes_low"] < shot["codes"] < shot["codes_high"]
    # Every unit has the same difference, so that it does not matter which are drawn.
    for end in ("", "_low", "_high"):
        assert shot[f"over_raw{end}"] == pytest.approx(0.1)
    assert shot["over_pca"] == pytest.approx(0.36) and shot["components"] == 4
    # Standard deviation of .51 and .61.
    assert shot["codes_spread"] == pytest.approx(0.1 / np.sqrt(2))
    leaf = next(row for key, row in found.items() if key[:2] == ("retrieval", "leaf"))
    assert leaf["codes_spread"] is None and leaf["codes"] == pytest.approx(0.51)
    sizes = {key[3]: row for key, row in found.items() if key[:3] == ("transfer", "node", 1)}
    assert [sizes[size]["n_units"] for size in ("all", "2", "3", "4-15", "16+")] == [3, 2, 0, 0, 1]
    assert sizes["2"]["codes"] == pytest.approx(0.555) and sizes["3"]["codes"] is None
    assert {key[3] for key in found if key[1] != "node"} == {"all"}


def test_what_has_no_score_is_left_out(rows) -> None:
    gone = rows["wnid"].eq("n2") & rows["task"].eq("retrieval")
    rows.loc[gone, ["codes", "raw", "pca"]] = np.nan
    first = next(summarise(rows, ABOUT, 10, 0))
    assert (first["n_units"], first["codes"]) == (2, pytest.approx(0.505))
    rows["codes"] = np.nan
    assert next(summarise(rows, ABOUT, 10, 0))["codes"] is None


@pytest.fixture
def table(rows) -> pd.DataFrame:
    """TopK at two layers, k-means, and TopK of a random backbone."""
    parts = []
    for experiment, weights, layer, variant in (
        ("mine", "file", 2, "topk"),
        ("mine", "file", 8, "topk"),
        ("mine", "file", 8, "kmeans"),
        ("twin", "random", 8, "topk"),
        ("twin", "random", 8, "kmeans"),
    ):
        arm = {"dictionary": f"{experiment}{layer}{variant}", "experiment": experiment}
        arm |= {"dataset": "d", "model": "m", "weights": weights, "token": "cls", "layer": layer}
        arm |= {"variant": variant, "width": 8, "sparsity": 2, "seed": 0}
        part = pd.DataFrame(summarise(rows, ABOUT, 10, 0))
        parts.append(part.assign(**arm, kind=f"{variant} w8 k2"))
    return pd.concat(parts, ignore_index=True)


def test_figure_shows_the_deepest_layer_beside_references(table) -> None:
    figure = plot_uses(table)
    assert len(figure.axes) == 6
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["topk SAE", "topk SAE, leaves permuted (null)"]
    assert {"topk SAE, random backbone", "k-means", CHANCE, OF_BYTES} <= {*labels}
    assert len(labels) == len({*labels}) == 7
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].get_lines()}
    assert lines["topk SAE"] == pytest.approx([0.51] * 3)
    assert lines[CHANCE] == pytest.approx([0.1] * 3)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [
        "leaf",
        "family",
        "domain",
    ]
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["1", "4"]
    assert len(plot_uses(table.iloc[:0]).axes) == 0


def test_page_has_a_row_for_each_kind_and_for_what_it_is_compared_with(table) -> None:
    page = "\n".join(uses_section(table))
    assert page.count("\n| raw activations |") == 3
    place = page[page.index("mine, cls, layer 8") :]
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in place.splitlines()]
    cells = {line[0]: line[1:] for line in lines if len(line) > 2}
    assert cells["topk w8 k2"][:2] == ["2.0", ".51 null .30"]
    assert cells["raw activations"][:2] == ["", ".41"]
    assert cells["4 components"][1] == ".20" and cells["chance"][1] == ".10"
    header = page[page.index("| non-zeros") :].splitlines()[0]
    assert (
        "| 1 a leaf | 4 a leaf | 4 a family | 4 a class, unseen classes | k = 1 | k = 4 |" in header
    )
