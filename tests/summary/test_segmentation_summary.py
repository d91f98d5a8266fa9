"""The figure and the page of evidence on patches, from a table made by hand."""

import pandas as pd
import pytest

from cladescope.summary.figures.base import PERMUTED, RANDOM, TRAINED
from cladescope.summary.figures.segmentation import CHANCE, IMAGE_LEVEL, plot_segmentation
from cladescope.summary.segmentation import segmentation_section

PLACES = [("class", None, 8), ("node", None, 6), ("node", 1, 4), ("node", 2, 2), ("root", None, 1)]
ARMS = [
    # experiment, weights, layer, variant, seed, what is added to every mean average precision
    ("mine", "file", 4, "topk", 0, 0.0),
    ("mine", "file", 8, "topk", 0, 0.1),
    ("mine", "file", 8, "topk", 1, 0.2),
    ("mine", "file", 8, "kmeans", 0, 0.3),
    ("twin", "random", 8, "topk", 0, -0.05),
    ("twin", "random", 8, "kmeans", 0, -0.05),
]


@pytest.fixture
def table() -> pd.DataFrame:
    rows = []
    for experiment, weights, layer, variant, seed, more in ARMS:
        for number, (kind, height, n_units) in enumerate(PLACES):
            nodes = {"map_null_permuted": 0.05 if kind == "node" else None}
            rows.append(
                {"dictionary": f"{experiment}{layer}{variant}{seed}", "experiment": experiment}
                | {"dataset": "d", "model": "m", "weights": weights, "token": "patches"}
                | {"layer": layer, "variant": variant, "width": 8, "sparsity": 2, "seed": seed}
                | {"kind_of_dictionary": f"{variant} w8 k2", "kind": kind, "height": height}
                | {"n_units": n_units, "map": 0.1 * (number + 1) + more, "purity_16": 0.5}
                | {"image_level": 0.25, "chance": 0.02, **nodes}
            )
    return pd.DataFrame(rows)


def lines(panel) -> dict[str, list[float]]:
    return {line.get_label(): line.get_ydata().tolist() for line in panel.get_lines()}


def test_figure_has_a_panel_for_each_layer_and_a_line_for_each_kind(table) -> None:
    figure = plot_segmentation(table)
    shallow, deep = (lines(panel) for panel in figure.axes)
    assert shallow.keys() == {TRAINED, PERMUTED, IMAGE_LEVEL, CHANCE}
    # Classes, height 1, height 2: neither all nodes together nor the root.
    assert shallow[TRAINED] == pytest.approx([0.1, 0.3, 0.4])
    assert deep[TRAINED] == pytest.approx([0.25, 0.45, 0.55]), "the mean over seeds"
    assert deep["k-means"] == pytest.approx([0.4, 0.6, 0.7])
    assert deep[RANDOM] == pytest.approx([0.05, 0.25, 0.35])
    assert deep[PERMUTED] == pytest.approx([0.05, 0.05]), "of nodes alone"
    assert deep[IMAGE_LEVEL] == pytest.approx([0.25] * 3)
    ticks = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert ticks == ["classes\n(8)", "1\n(4)", "2\n(2)"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == [TRAINED, PERMUTED] and len(legend) == len({*legend}) == 6


def test_figure_of_nothing_says_so(table) -> None:
    assert "no class or node" in plot_segmentation(table.iloc[:0]).texts[0].get_text()
    assert "no class or node" in plot_segmentation(table.assign(n_units=0)).texts[0].get_text()


def test_page_has_a_row_for_each_kind_and_for_what_knows_no_place(table) -> None:
    parts = segmentation_section(table)
    assert [part.split("\n")[0] for part in parts[2::2]] == [
        "mine, patches, layer 4:",
        "mine, patches, layer 8:",
        "twin, patches, layer 8:",
    ]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in parts[5].splitlines()]
    header, _, topk, kmeans, image, chance = rows
    assert header == [
        *("dictionary", "mAP, classes", "Purity@16, classes", "mAP, nodes"),
        *("height 1", "height 2", "mAP, any object"),
    ]
    assert topk[0] == "topk w8 k2" and topk[1] == ".25 (.20 to .30)" and topk[2] == ".50"
    assert topk[3] == ".35 (.30 to .40) null .05"
    assert kmeans[4:] == [".60 null .05", ".70 null .05", ".80"]
    assert image == ["knows the image", ".25", "", ".25", ".25", ".25", ".25"]
    assert chance[1:3] == [".02", ""]
