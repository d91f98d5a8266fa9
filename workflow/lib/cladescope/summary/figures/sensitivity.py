"""Heights and coverages over the whole grid of their options."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.summary.figures.base import PERMUTED, TRAINED, remark, set_style, titles

SHOWN = ("lch_tau_height_contracted", "coverage_top", "coverage_tau", "coherent_share")


def plot_sensitivity(sensitivity: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """Draw heights and coverages of the trained dictionaries for every N, τ and ρ of the grid."""
    set_style()
    keep = (metrics["variant"] == "topk") & (metrics["weights"] != "random")
    table = sensitivity.merge(metrics.loc[keep, ["dictionary", "layer"]], on="dictionary")
    if table.empty:
        return remark("no trained dictionary on a trained backbone")
    parts = []
    for score, label in titles(*SHOWN).items():
        for suffix, series in (("", TRAINED), ("_null_permuted", PERMUTED)):
            part = table[["layer", "top_n", "tau", "rho", f"{score}{suffix}"]]
            part = part.rename(columns={f"{score}{suffix}": "value"})
            parts.append(part.assign(series=series, score=label))
    drawn = pd.concat(parts, ignore_index=True).rename(columns={"top_n": "N", "tau": "τ"})
    if drawn["value"].isna().all():
        return remark("no latent is scored")
    grid = sns.relplot(
        drawn,
        kind="line",
        x="layer",
        y="value",
        hue="N",
        size="τ",
        style="series",
        palette="crest",
        sizes=(0.7, 2.2),
        dashes={TRAINED: "", PERMUTED: (4, 2)},
        col="score",
        height=2.9,
        aspect=1.1,
        errorbar=None,
        legend="full",
        facet_kws={"sharey": False},
    )
    grid.set_titles("{col_name}")
    grid.set_axis_labels("layer", "")
    grid.set(xticks=sorted(table["layer"].unique()))
    return grid.figure
