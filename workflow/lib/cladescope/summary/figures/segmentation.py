"""How well single latents find the patches of classes and nodes, beside what knows no place."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.names import BASELINES
from cladescope.segmentation.measure import CLASS, NODE
from cladescope.summary.figures.base import (
    PERMUTED,
    STYLES,
    TRAINED,
    draw_beside,
    legend_below,
    of_first_and_twins,
    remark,
    set_style,
)

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
    legend_below(figure, REFERENCES, min(4, 1 + len(layers)))
    figure.suptitle(f"{table.iloc[0]['experiment']}, best single latent of each")
    return figure


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the first experiment, and random backbones on its images; name series and places."""
    table = table[table["kind"].eq(CLASS) | (table["kind"].eq(NODE) & table["height"].notna())]
    table = table[table["n_units"] > 0]
    if table.empty:
        return table
    table = of_first_and_twins(table, table["variant"].map({"topk": TRAINED, **BASELINES}))
    layers = table.loc[table["experiment"].eq(table.iloc[0]["experiment"]), "layer"]
    height = table["height"].where(table["kind"].eq(NODE), 0).astype(int)
    return table.assign(height=height)[table["layer"].isin(layers)].dropna(subset=["series"])


def _draw(panel: Axes, rows: pd.DataFrame) -> None:
    """Draw the lines of one layer."""
    heights = sorted(rows["height"].unique())
    rows = rows.assign(x=rows["height"].map({h: place for place, h in enumerate(heights)}))
    draw_beside(panel, rows, "map", REFERENCES)
    n_units = rows.groupby("height")["n_units"].max()
    panel.set_xticks(
        range(len(heights)), [f"{h or 'classes'}\n({n_units[h]})" for h in heights], fontsize=8
    )
