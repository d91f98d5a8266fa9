"""Several networks over relative depth, each beside its architecture with random weights."""

from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.names import BASELINES
from cladescope.summary.architectures import PROBE, architecture_of
from cladescope.summary.figures.base import TRAINED, plain, set_style, titles

SHOWN = (
    (PROBE, "held_out"),
    ("topk", "held_out"),
    ("kmeans", "held_out"),
    ("topk", "own_best_recovery"),
    ("kmeans", "own_best_recovery"),
)
NAMES = {PROBE: PROBE, "topk": TRAINED, **BASELINES}
COLUMNS = 3


def plot_architectures(depths: pd.DataFrame, firsts: pd.DataFrame) -> Figure:
    """Draw measures over relative depth, and from where nodes of a height exceed their null.

    Parameters
    ----------
    depths, firsts
        The tables `architectures.csv` and `first_depths.csv`.

    Every dataset and token has rows of panels of its own. A model has a colour, and hollow points
    where it has other weights once more; dotted in the colour of the first model of its
    architecture are random weights.
    """
    set_style()
    styles = _styles(depths)
    places = list(depths.groupby(["dataset", "token"], sort=False))
    n_rows = -(-(len(SHOWN) + 1) // COLUMNS)
    figure, axes = plt.subplots(
        n_rows * len(places),
        COLUMNS,
        figsize=(3.4 * COLUMNS, 2.8 * n_rows * len(places)),
        squeeze=False,
        layout="constrained",
    )
    panels = iter(axes.flat)
    for ((dataset, token), part), (kind, measure) in product(places, (*SHOWN, (None, None))):
        axis = next(panels)
        where = f"\n{dataset}, {token}" if len(places) > 1 else ""
        here = firsts[firsts["dataset"].eq(str(dataset)) & firsts["token"].eq(str(token))]
        if kind is None or measure is None:
            _draw_firsts(axis, here[here["variant"] == "topk"], styles)
            axis.set_title(
                f"height of nodes from where on they exceed their null, {TRAINED}{where}", wrap=True
            )
            continue
        chosen = part[part["variant"].eq(kind) & part["measure"].eq(measure)]
        for experiment, line in chosen.groupby("experiment", sort=False):
            axis.plot(*_mean_line(line), **styles[str(experiment)])
        axis.set_title(f"{titles(measure)[measure]}\n{NAMES[kind]}{where}")
        axis.set(xlim=(0, 1.03), xlabel="relative depth")
    names = list(styles)
    keys = [plt.Line2D([], [], **styles[name]) for name in names]
    figure.legend(keys, [plain(name) for name in names], loc="outside lower center", ncols=4)
    return figure


def _mean_line(line: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    means = line.groupby("depth")["value"].mean()
    return means.index.to_series(), means


def _styles(depths: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return each experiment's style; random weights last, like their architecture's first."""
    arms = depths.drop_duplicates("experiment")[["experiment", "model", "weights"]]
    trained, random = arms[arms["weights"] != "random"], arms[arms["weights"] == "random"]
    models = list(dict.fromkeys(trained["model"]))
    palette = sns.color_palette("colorblind" if len(models) <= 10 else "husl", len(models))
    colours = dict(zip(models, palette, strict=True))
    styles: dict[str, dict[str, Any]] = {}
    for model, experiments in trained.groupby("model", sort=False)["experiment"]:
        first, *again = (str(experiment) for experiment in experiments)
        styles[first] = {"color": colours[model], "marker": "o", "markersize": 4}
        for experiment in again:
            styles[experiment] = {**styles[first], "linestyle": "--", "markerfacecolor": "white"}
    of_architecture = {architecture_of(model): colours[model] for model in reversed(models)}
    for experiment, model, _ in random.to_numpy():
        colour = of_architecture.get(architecture_of(model), "0.5")
        styles[experiment] = {"color": colour, "linestyle": ":", "marker": "o", "markersize": 3}
    return styles


def _draw_firsts(axis: Axes, firsts: pd.DataFrame, styles: dict[str, dict[str, Any]]) -> None:
    """Draw the first depth (x) of each height (y); nothing where no layer exceeds the null."""
    for number, (experiment, line) in enumerate(firsts.groupby("experiment", sort=False)):
        # Beside each other: most networks begin at one of few depths.
        beside = 0.06 * (number - firsts["experiment"].nunique() / 2)
        style = styles[str(experiment)]
        axis.plot(line["first_depth"], line["height_contracted"] + beside, **style)
    heights = sorted(firsts["height_contracted"].unique())
    axis.set(xlim=(0, 1.03), xlabel="relative depth", ylabel="contracted height", yticks=heights)
