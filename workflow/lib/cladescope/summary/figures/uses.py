"""What codes are good for, beside activations, components of the same bytes, and chance."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.summary.figures.base import (
    PERMUTED,
    RANDOM,
    STYLES,
    TRAINED,
    remark,
    series_of,
    set_style,
)
from cladescope.summary.uses import ALL
from cladescope.uses.table import (
    ACCURACY,
    AUROC,
    COMPONENTS,
    FEW_SHOTS,
    LEVELS,
    NODE,
    PRECISION,
    RAW,
    RETRIEVAL,
    SPARSE_PROBES,
    TRANSFER,
)

PANELS = (
    (RETRIEVAL, PRECISION, LEVELS),
    *((FEW_SHOTS, ACCURACY, (level,)) for level in LEVELS),
    (TRANSFER, AUROC, (NODE,)),
    (SPARSE_PROBES, ACCURACY, (NODE,)),
)
"""Task, measure and levels: panels of one level have the number of examples or latents below."""
TITLES = {
    RETRIEVAL: "retrieval",
    FEW_SHOTS: "few shots",
    TRANSFER: "nodes on classes that were not learnt from",
    SPARSE_PROBES: "nodes from k latents",
}
MEASURES = {PRECISION: "mean average precision", ACCURACY: "balanced accuracy", AUROC: "AUROC"}
COUNTED = {FEW_SHOTS: "examples of each", TRANSFER: "examples of a class", SPARSE_PROBES: "latents"}
ACTIVATIONS, OF_BYTES, CHANCE = "raw activations", "components, bytes of topk", "chance"
REFERENCES = {
    ACTIVATIONS: (RAW, "#000000", ""),
    OF_BYTES: (COMPONENTS, "#000000", (4, 2)),
    PERMUTED: ("codes_null_permuted", *STYLES[PERMUTED]),
    CHANCE: ("chance", "#7F7F7F", (1, 2)),
}
"""Columns of the trained dictionaries that are drawn beside the codes, and their styles."""


def plot_uses(uses: pd.DataFrame) -> Figure:
    """Draw a panel for each use at the deepest layer of the first experiment: a line for each kind.

    A point is the mean over the dictionaries of its kind, of all widths, sparsities and seeds; its
    band spans them.

    Parameters
    ----------
    uses
        The table `uses.csv`.
    """
    set_style()
    if uses.empty:
        return remark("no use is measured")
    table = _deepest(uses[uses["size"] == ALL])
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), constrained_layout=True)
    for panel, (task, measure, levels) in zip(axes.flat, PANELS, strict=True):
        rows = table[table["task"].eq(task) & table["measure"].eq(measure)]
        _draw(panel, rows[rows["level"].isin(levels)], levels)
        panel.set_title(f"{TITLES[task]}, {levels[0]}" if task == FEW_SHOTS else TITLES[task])
        panel.set_ylabel(MEASURES[measure])
        panel.set_xlabel(COUNTED.get(task, ""))
    handles = {line.get_label(): line for panel in axes.flat for line in panel.get_lines()}
    shown = [name for name in (*STYLES, *REFERENCES) if name in handles]
    figure.legend(
        [handles[name] for name in dict.fromkeys(shown)],
        [*dict.fromkeys(shown)],
        loc="outside lower center",
        ncol=4,
        frameon=False,
    )
    place = table.iloc[0]
    figure.suptitle(f"{place['experiment']}, {place['token']}, layer {place['layer']}")
    return figure


def _deepest(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the deepest layer of the first experiment, the same of random backbones; name series."""
    first = table.iloc[0]
    own = table["experiment"].eq(first["experiment"]) & table["token"].eq(first["token"])
    layer = table.loc[own, "layer"].max()
    twin = table["weights"].eq("random") & table["dataset"].eq(first["dataset"])
    kept = (own | twin) & table["token"].eq(first["token"]) & table["layer"].eq(layer)
    series = series_of(table).where(own, table["variant"].map({"topk": RANDOM}))
    return table.assign(series=series)[kept].dropna(subset=["series"])


def _draw(panel: Axes, rows: pd.DataFrame, levels: Sequence[str]) -> None:
    """Draw the lines of one panel."""
    x = "level" if len(levels) > 1 else "n"
    ticks = [*levels] if x == "level" else sorted(rows["n"].dropna().unique())
    rows = rows.assign(x=rows[x].map({tick: place for place, tick in enumerate(ticks)}))
    for series in [name for name in STYLES if name in set(rows["series"])]:
        colour, dash = STYLES[series]
        ends = rows[rows["series"] == series].groupby("x")["codes"].agg(["mean", "min", "max"])
        _line(panel, ends["mean"], series, colour, dash)
        panel.fill_between(ends.index, ends["min"], ends["max"], color=colour, alpha=0.15, lw=0)
    trained = rows[rows["series"] == TRAINED]
    for name, (column, colour, dash) in REFERENCES.items():
        means = (trained if len(trained) else rows).groupby("x")[column].mean().dropna()
        if len(means):
            _line(panel, means, name, colour, dash, marker="")
    panel.set_xticks(range(len(ticks)), [t if x == "level" else f"{t:g}" for t in ticks])


def _line(
    panel: Axes,
    y: pd.Series,
    label: str,
    colour: str,
    dash: Sequence[Any],
    marker: str = "o",
) -> None:
    style: Any = (0, dash) if dash else "-"
    panel.plot(y.index, y, color=colour, linestyle=style, label=label, marker=marker, markersize=4)
