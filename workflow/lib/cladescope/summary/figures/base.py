"""What the figures share: names and colours of the series, style, saving."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.dictionaries.exchange import FILES
from cladescope.files import write_aside
from cladescope.names import BASELINES, labels

SHOWN = (
    "held_out",
    "held_out_matched",
    "own_best_recovery",
    "node_recovery",
    "coalition_f1_5",
    "coherent_share",
    "coverage_top",
    "lch_tau_height_contracted",
    "pair_lch_contracted",
)
"""Scores that are drawn by layer: what no latent for one class can reach comes first."""
TRAINED = "topk SAE"
PERMUTED = "topk SAE, leaves permuted (null)"
SHUFFLED = "topk SAE, labels shuffled (null)"
LIKE_RATE = "random latents of like rate (null)"
RANDOM = "topk SAE, random backbone"
PROBE = "linear probe on held-out classes"
IMPORTED = {library: f"{library} (imported)" for library in FILES}
"""Dictionaries that other libraries trained, by library."""
OTHERS = (*BASELINES.values(), *IMPORTED.values())
NULLS = {
    TRAINED: PERMUTED,
    **{name: f"{name}, leaves permuted (null)" for name in IMPORTED.values()},
}
"""Of the series of what was trained, the one with the leaves permuted."""
# Colour-blind-safe; a null has the colour of what it is the null of.
STYLES = {
    TRAINED: ("#0072B2", ""),
    PERMUTED: ("#0072B2", (4, 2)),
    SHUFFLED: ("#0072B2", (1, 2)),
    LIKE_RATE: ("#0072B2", (1, 2)),
    RANDOM: ("#D55E00", ""),
    PROBE: ("#000000", (1, 1)),
    BASELINES["start"]: ("#56B4E9", (6, 1, 1, 1)),
    BASELINES["random"]: ("#7F7F7F", (6, 1, 1, 1)),
    BASELINES["kmeans"]: ("#E69F00", (6, 1, 1, 1)),
    BASELINES["neurons"]: ("#009E73", (6, 1, 1, 1)),
    BASELINES["pca"]: ("#CC79A7", (6, 1, 1, 1)),
    BASELINES["class_means"]: ("#882255", (1, 1)),
    BASELINES["node_means"]: ("#332288", (1, 1)),
}
for name, colour in zip(
    IMPORTED.values(), sns.color_palette("dark", len(FILES)).as_hex(), strict=True
):
    STYLES |= {name: (colour, ""), NULLS[name]: (colour, (4, 2))}


TITLE_WIDTH = 36


def titles(*names: str) -> dict[str, str]:
    """Return what figures call these scores, by name, in lines that fit above a panel."""
    return {
        name: fill(text, TITLE_WIDTH).replace("LCH_τ", r"LCH$_\tau$")
        for name, text in labels(*names).items()
    }


def plain(name: str) -> str:
    """Return a name as matplotlib should write it: on one line, and dollars are no mathematics."""
    return " ".join(name.split()).replace("$", r"\$")


def series_of(table: pd.DataFrame) -> pd.Series:
    """Return the series of each row, by its variant or library; missing where it has none."""
    series = table["variant"].map({"topk": TRAINED, **BASELINES})
    return series.fillna(table["library"].map(IMPORTED)) if "library" in table else series


def of_first_and_twins(table: pd.DataFrame, series: pd.Series) -> pd.DataFrame:
    """Keep the first experiment, and random backbones on its images; add the column `series`.

    Parameters
    ----------
    series
        Of each row of the first experiment; of random backbones only `topk` is one.
    """
    first = table.iloc[0]
    own = table["experiment"].eq(first["experiment"])
    twin = table["weights"].eq("random") & table["dataset"].eq(first["dataset"])
    series = series.where(own, table["variant"].map({"topk": RANDOM}))
    return table.assign(series=series)[own | twin]


def short_name(name: str) -> str:
    """Return a synset's first word as people write it, `big cat` for `big_cat.n.01`.

    Names of the user's own taxonomy stay what they are, but for `_`.
    """
    return plain(re.sub(r"\.[a-z]\.\d+$", "", name).replace("_", " "))


def lines_by_layer(
    table: pd.DataFrame, panel: str, layers: pd.Series, *, below: float, sharey: bool
) -> sns.FacetGrid:
    """Draw a line for each series, in its style, over the layers; its band spans all rows.

    Parameters
    ----------
    table
        Columns layer, value, series (of `STYLES`) and the one that `panel` names.
    layers
        Those that are marked.
    below
        Where the legend stands, as a share of the figure's height.
    sharey
        Whether all panels have one scale.
    """
    shown = [series for series in STYLES if series in set(table["series"])]
    grid = sns.relplot(
        table,
        kind="line",
        x="layer",
        y="value",
        hue="series",
        style="series",
        hue_order=shown,
        style_order=shown,
        palette={name: colour for name, (colour, _) in STYLES.items()},
        dashes={name: dash for name, (_, dash) in STYLES.items()},
        markers=dict.fromkeys(STYLES, "o"),
        markersize=5,
        col=panel,
        col_wrap=3,
        height=2.7,
        aspect=1.25,
        errorbar=("pi", 100),
        facet_kws={"sharey": sharey},
    )
    grid.set_titles("{col_name}")
    grid.set_axis_labels("layer", "")
    grid.set(xticks=sorted(layers.unique()))
    grid.legend.set_title("")
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.45, below), ncol=4, frameon=False)
    return grid


def draw_beside(
    panel: Axes, rows: pd.DataFrame, value: str, references: Mapping[str, Sequence[Any]]
) -> None:
    """Draw a line of means over `x` for each series, its band from least to most, and references.

    Parameters
    ----------
    rows
        Columns x, series (of `STYLES`), `value` and those of the references.
    references
        By name the column, colour and dashes; of trained dictionaries, where there are any.
    """

    def line(y: pd.Series, name: str, colour: str, dash: Sequence[Any], marker: str) -> None:
        style: Any = (0, dash) if dash else "-"
        panel.plot(
            y.index, y, color=colour, linestyle=style, label=name, marker=marker, markersize=4
        )

    for series in [name for name in STYLES if name in set(rows["series"])]:
        ends = rows[rows["series"] == series].groupby("x")[value].agg(["mean", "min", "max"])
        line(ends["mean"], series, *STYLES[series], "o")
        colour, _ = STYLES[series]
        panel.fill_between(ends.index, ends["min"], ends["max"], color=colour, alpha=0.15, lw=0)
    trained = rows[rows["series"] == TRAINED]
    for name, (column, colour, dash) in references.items():
        means = (trained if len(trained) else rows).groupby("x")[column].mean().dropna()
        if len(means):
            line(means, name, colour, dash, "")


def legend_below(figure: Figure, references: Mapping[str, Any], columns: int) -> None:
    """Put one legend of the lines of all panels below them: series, then references."""
    handles = {line.get_label(): line for panel in figure.axes for line in panel.get_lines()}
    shown = dict.fromkeys(name for name in (*STYLES, *references) if name in handles)
    figure.legend(
        [handles[name] for name in shown],
        [*shown],
        loc="outside lower center",
        ncol=columns,
        frameon=False,
    )


def remark(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = plt.figure(figsize=(4, 1))
    figure.text(0.5, 0.5, text, ha="center")
    return figure


def set_style() -> None:
    """Set the style that all figures share; no window is ever opened."""
    mpl.use("agg")
    sns.set_theme(style="whitegrid", context="paper")
    # Fixed ids and no date: the same figure makes the same bytes.
    mpl.rcParams["svg.hashsalt"] = "cladescope"
    mpl.rcParams["svg.fonttype"] = "none"


def save(figure: Figure, paths: Sequence[str], dpi: int) -> None:
    """Write a figure in the format of each path; the same figure makes the same bytes."""
    for path in paths:
        suffix = Path(path).suffix[1:]
        metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
        with write_aside(path) as aside:
            figure.savefig(aside, format=suffix, dpi=dpi, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
