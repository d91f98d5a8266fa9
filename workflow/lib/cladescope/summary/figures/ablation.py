"""What the model loses with a node's latents, by layer, beside the controls."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.causes.kinds import PERMUTED
from cladescope.names import ABLATION
from cladescope.summary.figures.base import RANDOM, STYLES, remark, series_of, set_style

SHOWN = ("selectivity", "projected", "evenness")
AS_THEY_ARE, REARRANGED = "as they are", "permuted (null)"


def plot_ablation(ablation: pd.DataFrame) -> Figure:
    """Draw measures of ablation by layer: a line for each kind of dictionary, one dashed its null.

    A point is the mean over the dictionaries of its kind; dashed: with the leaves permuted and the
    latents chosen anew. One row of panels for each number of latents.

    Parameters
    ----------
    ablation
        The table `ablation.csv`.
    """
    set_style()
    table = _points(ablation)
    if table.empty:
        return remark("no dictionary is ablated")
    shown = [series for series in STYLES if series in set(table["series"])]
    grid = sns.relplot(
        table,
        kind="line",
        x="layer",
        y="value",
        hue="series",
        hue_order=shown,
        palette={name: colour for name, (colour, _) in STYLES.items()},
        style="leaves",
        style_order=[AS_THEY_ARE, REARRANGED],
        markers=True,
        row="arm",
        col="measure",
        height=2.8,
        aspect=1.25,
        errorbar=("pi", 100),
        facet_kws={"sharey": False},
    )
    grid.set_titles("{col_name}\n{row_name}")
    grid.set_axis_labels("layer", "")
    for panel in grid.axes.flat:
        panel.set_xticks(sorted(table["layer"].unique()))
        panel.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    # The headings of hue and style say no more than what stands below them.
    for text in grid.legend.get_texts():
        text.set_text(text.get_text().replace("series", "").replace("leaves", "leaves:"))
    grid.figure.subplots_adjust(hspace=0.4)
    return grid.figure


def _points(ablation: pd.DataFrame) -> pd.DataFrame:
    """Return columns layer, arm, series, leaves, measure, value."""
    table = ablation[ablation["size"] == "all"]
    random = (table["weights"] == "random") & (table["variant"] == "topk")
    table = table.assign(
        series=series_of(table).mask(random, RANDOM),
        arm=table["token"] + ", latents of a node: " + table["n_latents"].astype(str),
    ).dropna(subset=["series"])
    keys = ["layer", "arm", "series"]
    parts = []
    for leaves, suffix in ((AS_THEY_ARE, ""), (REARRANGED, f"_null_{PERMUTED}")):
        columns = {f"{name}{suffix}": ABLATION[name] for name in SHOWN}
        part = table[[*keys, *columns]].rename(columns=columns)
        parts.append(part.melt(id_vars=keys, var_name="measure").assign(leaves=leaves))
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])
