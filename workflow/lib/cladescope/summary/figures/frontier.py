"""What hierarchy costs in reconstruction: every kind of dictionary on two axes."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.summary.figures.base import remark, set_style, titles
from cladescope.summary.trends import KIND, across_layers

SCORES = ("held_out", "own_best_recovery")
PLACE = ["experiment", "token", "layer"]
LEAST_FVE = 0.0
"""Left of it all reconstruct worse than the mean; they are drawn at the edge."""


def plot_frontier(metrics: pd.DataFrame) -> Figure:
    """Draw scores against FVE, a point for each kind of dictionary, a row for each layer.

    Points are means over seeds, bars span them; the number beside a point is its L0.
    """
    set_style()
    table = across_layers(metrics)[metrics["weights"] != "random"]
    if table.empty:
        return remark("no dictionary on a trained backbone")
    table = table.assign(fve=table["fve"].clip(lower=LEAST_FVE))
    variants = list(dict.fromkeys(table["variant"]))
    colours = dict(zip(variants, sns.color_palette("husl", len(variants)), strict=True))
    places = list(table.groupby(PLACE, sort=False))
    figure, axes = plt.subplots(
        len(places),
        len(SCORES),
        figsize=(4.2 * len(SCORES), 3 * len(places)),
        sharex=True,
        sharey="col",
        squeeze=False,
        layout="constrained",
    )
    for row, ((experiment, token, layer), part) in zip(axes, places, strict=True):
        for axis, (score, label) in zip(row, titles(*SCORES).items(), strict=True):
            _points(axis, part, score, colours)
            axis.set(xlabel="variance explained (FVE)", ylabel=label)
            axis.set_title(f"{experiment}, {token}, layer {layer}")
    marks = [plt.Line2D([], [], marker="o", linestyle="", color=colours[v]) for v in variants]
    figure.legend(marks, variants, loc="outside right upper")
    return figure


def _points(
    axis: Axes, table: pd.DataFrame, score: str, colours: dict[str, tuple[float, float, float]]
) -> None:
    for (variant, *_), seeds in table.groupby(KIND, dropna=False, sort=False):
        known = seeds.dropna(subset=[score, "fve"])
        if known.empty:
            continue
        x, y = known["fve"], known[score]
        axis.errorbar(
            x.mean(),
            y.mean(),
            xerr=[[x.mean() - x.min()], [x.max() - x.mean()]],
            yerr=[[y.mean() - y.min()], [y.max() - y.mean()]],
            marker="o",
            markersize=4,
            linewidth=0.8,
            color=colours[str(variant)],
        )
        axis.annotate(
            f"{known['l0'].mean():.0f}",
            (x.mean(), y.mean()),
            textcoords="offset points",
            xytext=(3, 3),
            fontsize=6,
        )
