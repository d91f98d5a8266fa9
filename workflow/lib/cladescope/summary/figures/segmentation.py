"""How well single latents find the patches of classes and nodes, beside what knows no place."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.names import BASELINES
from cladescope.segmentation.measure import CLASS, NODE
from cladescope.summary.figures.base import PERMUTED, RANDOM, STYLES, TRAINED, remark, set_style

IMAGE_LEVEL, CHANCE = "knows the image, not the place", "chance"
REFERENCES = {
    PERMUTED: ("map_null_permuted", *STYLES[PERMUTED]),
    IMAGE_LEVEL: ("image_level", "#000000", (1, 1)),
    CHANCE: ("chance", "#7F7F7F", (1, 2)),
}
"""Columns of the trained dictionaries that are drawn beside the latents, and their styles."""


def plot_segmentation(segmentation: pd.DataFrame) -> Figure:
    """Draw a panel for each layer of the first experiment: a line for each kind of dictionary.

    A point is the mean average precision over classes, or over internal nodes of one height,
    averaged over the dictionaries of the kind; its band spans them. The root is left out: what
    tells objects from background is another question, and has another scale.

    Parameters
    ----------
    segmentation
        The table `segmentation.csv`.
    """
    set_style()
    table = _points(segmentation)
    if table.empty:
        return remark("no class or node has patches to find")
    layers = sorted(table["layer"].unique())
    size = (1.2 + 3.4 * len(layers), 3.6)
    figure, axes = plt.subplots(
        1, len(layers), figsize=size, sharey=True, squeeze=False, constrained_layout=True
    )
    for panel, layer in zip(axes.flat, layers, strict=True):
        _draw(panel, table[table["layer"] == layer])
        panel.set_title(f"layer {layer}")
        panel.set_xlabel("classes, and nodes by height (how many)")
    axes[0, 0].set_ylabel("mean average precision")
    axes[0, 0].set_ylim(bottom=0)
    handles = {line.get_label(): line for panel in axes.flat for line in panel.get_lines()}
    shown = dict.fromkeys(name for name in (*STYLES, *REFERENCES) if name in handles)
    figure.legend(
        [handles[name] for name in shown],
        [*shown],
        loc="outside lower center",
        ncol=min(4, 1 + len(layers)),
        frameon=False,
    )
    figure.suptitle(f"{table.iloc[0]['experiment']}, best single latent of each")
    return figure


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the first experiment, and random backbones on its images; name series and places."""
    table = table[table["kind"].eq(CLASS) | (table["kind"].eq(NODE) & table["height"].notna())]
    table = table[table["n_units"] > 0]
    if table.empty:
        return table
    first = table.iloc[0]
    own = table["experiment"].eq(first["experiment"])
    twin = table["weights"].eq("random") & table["dataset"].eq(first["dataset"])
    series = table["variant"].map({"topk": TRAINED, **BASELINES})
    series = series.where(own, table["variant"].map({"topk": RANDOM}))
    height = table["height"].where(table["kind"].eq(NODE), 0).astype(int)
    layers = table.loc[own, "layer"]
    kept = (own | twin) & table["layer"].isin(layers)
    return table.assign(series=series, height=height)[kept].dropna(subset=["series"])


def _draw(panel: Axes, rows: pd.DataFrame) -> None:
    """Draw the lines of one layer."""
    heights = sorted(rows["height"].unique())
    rows = rows.assign(x=rows["height"].map({h: place for place, h in enumerate(heights)}))
    for series in [name for name in STYLES if name in set(rows["series"])]:
        colour, dash = STYLES[series]
        ends = rows[rows["series"] == series].groupby("x")["map"].agg(["mean", "min", "max"])
        _line(panel, ends["mean"], series, colour, dash)
        panel.fill_between(ends.index, ends["min"], ends["max"], color=colour, alpha=0.15, lw=0)
    trained = rows[rows["series"] == TRAINED]
    for name, (column, colour, dash) in REFERENCES.items():
        means = (trained if len(trained) else rows).groupby("x")[column].mean().dropna()
        if len(means):
            _line(panel, means, name, colour, dash, marker="")
    n_units = rows.groupby("height")["n_units"].max()
    panel.set_xticks(
        range(len(heights)), [f"{h or 'classes'}\n({n_units[h]})" for h in heights], fontsize=8
    )


def _line(
    panel: Axes, y: pd.Series, label: str, colour: str, dash: Sequence[Any], marker: str = "o"
) -> None:
    style: Any = (0, dash) if dash else "-"
    panel.plot(y.index, y, color=colour, linestyle=style, label=label, marker=marker, markersize=4)
