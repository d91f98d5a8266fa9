"""What hierarchy costs in reconstruction: every kind of dictionary on two axes."""

from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.summary.figures.base import remark, set_style, titles
from cladescope.summary.trends import KIND, across_layers
from cladescope.sweep import SUPERVISED

SCORES = ("held_out", "own_best_recovery")
PLACE = ["experiment", "token", "layer"]
LEAST_FVE = 0.0
"""Left of it all reconstruct worse than the mean; they are drawn at the edge."""


def plot_frontier(metrics: pd.DataFrame) -> Figure:
    """Draw scores against FVE, a point for each kind of dictionary, a row for each layer.

    Points are means over seeds, bars span them; the number beside a point is its L0. A line joins
    those that no other beats on both axes, of those that know no labels.
    """
    set_style()
    table = across_layers(metrics)[metrics["weights"] != "random"]
    if table.empty:
        return remark("no dictionary on a trained backbone")
    table = table.assign(fve=table["fve"].clip(lower=LEAST_FVE))
    variants = list(dict.fromkeys(table["variant"]))
    colours = sns.color_palette("husl", len(variants))
    # Shapes as well: a dozen colours or more cannot be told apart.
    marks = {
        variant: {"color": colour, "marker": shape}
        for variant, colour, shape in zip(variants, colours, cycle("os^DvPX"), strict=False)
    }
    places = list(table.groupby(PLACE, sort=False))
    columns = 1 + len(variants) // 12
    figure, axes = plt.subplots(
        len(places),
        len(SCORES),
        figsize=(3.4 * len(SCORES) + 1.6 * columns, 3 * len(places)),
        sharex=True,
        sharey="col",
        squeeze=False,
        layout="constrained",
    )
    for row, ((experiment, token, layer), part) in zip(axes, places, strict=True):
        for axis, (score, label) in zip(row, titles(*SCORES).items(), strict=True):
            _points(axis, part, score, marks)
            axis.set(xlabel="variance explained (FVE)", ylabel=label)
            axis.set_title(f"{experiment}, {token}, layer {layer}")
    keys = [plt.Line2D([], [], linestyle="", **marks[variant]) for variant in variants]
    figure.legend(keys, variants, loc="outside right upper", ncols=columns)
    return figure


def _points(axis: Axes, table: pd.DataFrame, score: str, marks: dict[str, dict[str, Any]]) -> None:
    unsupervised = []
    for (variant, *_), seeds in table.groupby(KIND, dropna=False, sort=False):
        known = seeds.dropna(subset=[score, "fve"])
        if known.empty:
            continue
        x, y = known["fve"], known[score]
        if variant not in SUPERVISED:
            unsupervised.append((x.mean(), y.mean()))
        axis.errorbar(
            x.mean(),
            y.mean(),
            xerr=[[x.mean() - x.min()], [x.max() - x.mean()]],
            yerr=[[y.mean() - y.min()], [y.max() - y.mean()]],
            markersize=4,
            linewidth=0.8,
            **marks[str(variant)],
        )
        axis.annotate(
            f"{known['l0'].mean():.0f}",
            (x.mean(), y.mean()),
            textcoords="offset points",
            xytext=(3, 3),
            fontsize=6,
        )
    front = [
        (x, y)
        for x, y in unsupervised
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in unsupervised)
    ]
    axis.plot(*zip(*sorted(front), strict=True), color="0.6", linewidth=0.8, zorder=0)
