"""Scores over the whole sweep: layer × width × sparsity."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.summary.figures.base import remark, set_style, titles

SHOWN = titles("node_recovery", "coherent_share", "fve")
WRITTEN_CELLS = 200
"""Panels of more cells show colours only."""


def plot_surface(metrics: pd.DataFrame) -> Figure:
    """Draw three scores for every layer, width and sparsity of the trained dictionaries.

    A panel is a score, a row a kind of dictionary of one experiment. A cell is the mean over the
    seeds; below it, in brackets, the permuted-leaf null where the score has one.
    """
    set_style()
    swept = metrics.dropna(subset=["sparsity"])
    if swept.empty:
        return remark("no trained dictionary")
    grids = {score: _grid(swept, score) for score in SHOWN}
    rows, columns = grids["fve"].shape
    figure, axes = plt.subplots(
        1,
        len(SHOWN),
        sharey=True,
        figsize=(2.2 + len(SHOWN) * (0.6 + 0.46 * max(columns, 4)), 1.6 + 0.32 * rows),
        squeeze=False,
        layout="constrained",
    )
    for axis, (score, label) in zip(axes[0], SHOWN.items(), strict=True):
        values, null = grids[score], _grid(swept, f"{score}_null_permuted")
        written = values.size <= WRITTEN_CELLS
        sns.heatmap(
            values,
            cmap="viridis",
            linewidths=0.4,
            annot=_written(values, null) if written else False,
            fmt="",
            annot_kws={"fontsize": 6},
            cbar_kws={"location": "bottom", "label": label, "shrink": 0.8},
            ax=axis,
        )
        axis.set(xlabel="layer", ylabel="")
        axis.grid(visible=False)
        axis.tick_params(axis="y", rotation=0, length=0)
    return figure


def _grid(swept: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return means over seeds, a row per arm, width and sparsity, a column per layer."""
    if score not in swept:
        return pd.DataFrame()
    keys = ["experiment", "token", "variant", "width", "sparsity"]
    grid = swept.pivot_table(score, keys, "layer", dropna=False, observed=True, sort=False)
    known = swept[keys].drop_duplicates()
    grid = grid.reindex(pd.MultiIndex.from_frame(known)).sort_index(axis=1)
    tokens = swept["token"].nunique() > 1
    names = [
        f"{arm}{f' {token}' if tokens else ''}, {variant}, {width} latents, {sparsity:g}"
        for arm, token, variant, width, sparsity in grid.index
    ]
    return grid.set_axis(names)


def _written(values: pd.DataFrame, null: pd.DataFrame) -> pd.DataFrame:
    text = values.map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
    if null.empty:
        return text
    return text + null.map(lambda value: "" if pd.isna(value) else f"\n({value:.2f})")
