"""Reconstruction and dead latents."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.summary.figures.base import remark, set_style, titles


def plot_quality(metrics: pd.DataFrame) -> Figure:
    """Draw reconstruction and dead latents against sparsity for the trained dictionaries."""
    set_style()
    trained = metrics[(metrics["variant"] == "topk") & (metrics["weights"] != "random")]
    if trained.empty:
        # A study of baselines or of random weights alone.
        return remark("no trained dictionary on a trained backbone")
    shown = titles("fve", "dead_share")
    table = trained.rename(columns=shown).melt(
        id_vars=["layer", "width", "sparsity"], value_vars=list(shown.values())
    )
    grid = sns.relplot(
        table,
        kind="line",
        x="sparsity",
        y="value",
        hue="layer",
        style="width",
        palette="crest",
        markers=True,
        col="variable",
        height=3.2,
        aspect=1.2,
        errorbar=("pi", 100),
        facet_kws={"sharey": False},
        legend="full",
    )
    grid.set_titles("{col_name}")
    grid.set_axis_labels("latents kept per image, k", "")
    grid.set(xticks=sorted(trained["sparsity"].unique()))
    return grid.figure
