"""Scores over the whole sweep: layer × width × sparsity."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from cladescope.figures.base import SCORES, remark, save, set_style

SHOWN = {
    "node_recovery": SCORES["node_recovery"],
    "coherent_share": SCORES["coherent_share"],
    "fve": "variance explained (FVE)",
}
WRITTEN_CELLS = 200
"""Panels of more cells show colours only."""


def plot_surface(metrics: pd.DataFrame, paths: Sequence[str], dpi: int) -> None:
    """Draw three scores for every layer, width and sparsity of the trained dictionaries.

    A row of panels is a score, with one scale of colours; a column is an experiment, token and
    variant. A cell is the mean over the seeds; behind it, in brackets, the permuted-leaf null where
    the score has one.
    """
    set_style()
    swept = metrics.dropna(subset=["sparsity"])
    if swept.empty:
        save(remark("no trained dictionary"), paths, dpi)
        return
    arms = [*swept.groupby(["experiment", "token", "variant"], sort=False)]
    n_kinds = max(part[["width", "sparsity"]].drop_duplicates().shape[0] for _, part in arms)
    n_layers = swept["layer"].nunique()
    figure, axes = plt.subplots(
        len(SHOWN),
        len(arms),
        figsize=(
            len(arms) * (1.6 + 0.42 * max(n_layers, 4)),
            len(SHOWN) * (0.9 + 0.26 * max(n_kinds, 3)),
        ),
        squeeze=False,
        layout="constrained",
    )
    for row, (score, label) in zip(axes, SHOWN.items(), strict=True):
        low, high = swept[score].min(), swept[score].max()
        for axis, (arm, part) in zip(row, arms, strict=True):
            values, null = _grid(part, score), _grid(part, f"{score}_null_permuted")
            written = values.size <= WRITTEN_CELLS
            sns.heatmap(
                values,
                vmin=low,
                vmax=high,
                cmap="viridis",
                annot=_written(values, null) if written else False,
                fmt="",
                annot_kws={"fontsize": 6},
                cbar=axis is row[-1],
                cbar_kws={"label": label},
                ax=axis,
            )
            axis.set(xlabel="layer (block)", ylabel="width, sparsity")
            axis.tick_params(axis="y", rotation=0)
            axis.set_title(", ".join(arm))
    save(figure, paths, dpi)


def _grid(part: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return means over seeds, a row per width and sparsity, a column per layer."""
    if score not in part:
        return pd.DataFrame()
    grid = part.pivot_table(score, ["width", "sparsity"], "layer", dropna=False)
    return grid.set_axis([f"{width}, {sparsity:g}" for width, sparsity in grid.index])


def _written(values: pd.DataFrame, null: pd.DataFrame) -> pd.DataFrame:
    text = values.map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
    if null.empty:
        return text
    return text + "\n(" + null.map(lambda value: f"{value:.2f}") + ")"
