"""How training went."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.summary.figures.base import remark, set_style, titles

CURVES = titles("fve", "dead_share", "l0")


def plot_training_curves(logs: pd.DataFrame) -> Figure:
    """Draw reconstruction, dead latents and sparsity over the images of a run, by variant.

    `logs` joins the training logs with their dictionary's experiment, layer and variant. A line is
    the mean over the dictionaries of a layer, its band their range.
    """
    set_style()
    if logs.empty:
        # A study of baselines alone.
        return remark("no trained dictionary")
    table = logs.rename(columns=CURVES).melt(
        id_vars=["experiment", "variant", "layer", "images"],
        value_vars=list(CURVES.values()),
        var_name="curve",
    )
    grid = sns.relplot(
        table,
        kind="line",
        x="images",
        y="value",
        hue="layer",
        style="experiment",
        palette="crest",
        row="variant",
        col="curve",
        errorbar=("pi", 100),
        height=2.5,
        aspect=1.3,
        facet_kws={"sharey": False},
    )
    grid.set_titles("{row_name}: {col_name}")
    grid.set_axis_labels("images seen", "")
    for (_, curve), axes in grid.axes_dict.items():
        if curve == CURVES["dead_share"]:
            # A run without dead latents shows a line at 0, not an axis centred on it.
            axes.set_ylim(bottom=-axes.get_ylim()[1] / 20)
    return grid.figure
