"""What codes are good for, beside activations, components of the same bytes, and chance."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cladescope.summary.figures.base import (
    PERMUTED,
    STYLES,
    draw_beside,
    legend_below,
    of_first_and_twins,
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
    legend_below(figure, REFERENCES, 4)
    place = table.iloc[0]
    figure.suptitle(f"{place['experiment']}, {place['token']}, layer {place['layer']}")
    return figure


def _deepest(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the deepest layer of the first experiment, the same of random backbones; name series."""
    table = table[table["token"].eq(table.iloc[0]["token"])]
    table = of_first_and_twins(table, series_of(table))
    deepest = table.loc[table["experiment"].eq(table.iloc[0]["experiment"]), "layer"].max()
    return table[table["layer"].eq(deepest)].dropna(subset=["series"])


def _draw(panel: Axes, rows: pd.DataFrame, levels: Sequence[str]) -> None:
    """Draw the lines of one panel."""
    x = "level" if len(levels) > 1 else "n"
    ticks = [*levels] if x == "level" else sorted(rows["n"].dropna().unique())
    rows = rows.assign(x=rows[x].map({tick: place for place, tick in enumerate(ticks)}))
    draw_beside(panel, rows, "codes", REFERENCES)
    panel.set_xticks(range(len(ticks)), [t if x == "level" else f"{t:g}" for t in ticks])
