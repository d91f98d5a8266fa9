"""Do a node's latents follow what its classes share, and nothing else, by layer?"""

from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from cladescope.names import ACROSS, LEAF, OTHER, WITHIN
from cladescope.scores.contrasts import OVER_LARGER, SHARED
from cladescope.summary.figures.base import (
    LIKE_RATE,
    OTHERS,
    RANDOM,
    TRAINED,
    lines_by_layer,
    remark,
    series_of,
    set_style,
)


class Panel(NamedTuple):
    """One kind of pair, and what is drawn of it."""

    title: str
    nodes: str
    change: str
    measure: str


PANELS = (
    Panel("answer to what the classes share (TAPA)", SHARED, SHARED, "answer"),
    Panel("answer to what one class has of its own", SHARED, LEAF, "answer"),
    Panel(
        "to what is shared rather than what is own,\nwhere that is larger",
        SHARED,
        OVER_LARGER,
        "answer",
    ),
    Panel(
        "nodes that share nothing:\nanswer to a part of other nodes", "unshared", OTHER, "answer"
    ),
    Panel("answer to a class of the node\nin place of another", SHARED, ACROSS, "answer"),
    Panel("changes from class to class\nwithin the node (share)", SHARED, WITHIN, "flips"),
)


def plot_pairs(pairs: pd.DataFrame) -> Figure:
    """Draw the answers of the latents that match each node best, with the controls.

    A line is the mean over the widths and sparsities of its arm; its band spans the seeds.

    Parameters
    ----------
    pairs
        The table `pairs.csv`.
    """
    set_style()
    table = answers_by_layer(pairs)
    if table.empty:
        return remark("no pairs of the kinds that are drawn")
    grid = lines_by_layer(table, "panel", pairs["layer"], below=-0.14, sharey=True)
    for axes in grid.axes.flat:
        axes.axhline(0, color="black", linewidth=0.5)
    return grid.figure


def answers_by_layer(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return columns panel, series, layer, experiment, seed, value.

    `panel` names the dataset, the model and the token, too, where there are several.
    """
    pairs = pairs[pairs["latents"] == "best"]
    random, topk = pairs["weights"] == "random", pairs["variant"] == "topk"
    own = series_of(pairs).mask(random)
    several = [name for name in ("dataset", "model", "token") if pairs[name].nunique() > 1]
    parts = []
    for panel in PANELS:
        here = pairs["nodes"].eq(panel.nodes) & pairs["change"].eq(panel.change)
        kinds = {
            TRAINED: (topk & ~random, panel.measure),
            LIKE_RATE: (topk & ~random, f"{panel.measure}_random"),
            RANDOM: (topk & random, panel.measure),
            **{series: (own.eq(series), panel.measure) for series in OTHERS},
        }
        for series, (rows, column) in kinds.items():
            part = pairs[here & rows]
            where = part[several].astype(str).agg(", ".join, axis=1) + "\n" if several else ""
            parts.append(part.assign(panel=where + panel.title, series=series, value=part[column]))
    table = pd.concat(parts).dropna(subset=["value"])
    table["seed"] = table["seed"].fillna(0)
    keys = ["panel", "series", "layer", "experiment", "seed"]
    return table.groupby(keys, as_index=False, sort=False)[["value"]].mean()
