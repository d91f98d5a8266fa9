"""What is found of the nodes of the taxonomy, by how many classes they have."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.names import PERMUTED as NULL
from cladescope.summary.figures.base import (
    NULLS,
    STYLES,
    remark,
    series_of,
    set_style,
    titles,
)

SHOWN = ("held_out", "own_best_recovery", "node_recovery")


def plot_by_size(metrics: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Draw scores of the internal nodes by their classes, at each trained arm's deepest layer.

    A bar is the mean over the dictionaries of its kind, its line spans them.

    Parameters
    ----------
    metrics, sizes
        The tables `metrics.csv` and `sizes.csv.gz`.
    """
    set_style()
    table = _bars(metrics, sizes)
    if table.empty:
        return remark("no trained dictionary on a trained backbone")
    shown = [series for series in STYLES if series in set(table["series"])]
    grid = sns.catplot(
        table,
        kind="bar",
        x="nodes",
        y="value",
        hue="series",
        hue_order=shown,
        palette={name: colour for name, (colour, _) in STYLES.items()},
        row="arm",
        col="score",
        height=2.8,
        aspect=1.4,
        errorbar=("pi", 100),
        err_kws={"linewidth": 1},
        sharey=False,
    )
    for null in [name for name in NULLS.values() if name in shown]:
        place = shown.index(null)
        nulls = [bar for bars in grid.axes.flat for bar in bars.containers[place]]
        for bar in (*nulls, grid.legend.legend_handles[place]):
            bar.set(fill=False, edgecolor=STYLES[null][0])
    grid.set_titles("{col_name}" if table["arm"].nunique() == 1 else "{row_name}\n{col_name}")
    grid.set_axis_labels("classes under the node (number of nodes)", "")
    grid.legend.set_title("")
    return grid.figure


def _bars(metrics: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Return columns arm, nodes, series, score, value: one row per dictionary, size and score."""
    kept = metrics[metrics["weights"] != "random"]
    arm = ["experiment", "token"]
    kept = kept.assign(series=series_of(kept)).dropna(subset=["series"])
    trained = kept[kept["series"].isin(NULLS)]
    deepest = trained.groupby(arm)["layer"].max().rename("deepest").reset_index()
    kept = kept.merge(deepest, on=arm)
    kept = kept[kept["layer"] == kept["deepest"]]
    kept = kept.assign(
        arm=kept["experiment"] + ", " + kept["token"] + ", layer " + kept["layer"].astype(str)
    )
    table = kept[["dictionary", "arm", "series"]].merge(sizes, on="dictionary")
    table = table[(table["size"] != "all") & (table["n_nodes"] > 0)]
    table["nodes"] = (
        table["size"].str.replace("-", "–") + "\n(" + table["n_nodes"].astype(str) + ")"
    )
    labels, keys = titles(*SHOWN), ["arm", "nodes", "series"]
    null = table[table["series"].isin(NULLS)].replace({"series": NULLS})
    of_null = {f"{score}_null_{NULL}": label for score, label in labels.items()}
    parts = [
        part[[*keys, *columns]].rename(columns=columns).melt(id_vars=keys, var_name="score")
        for part, columns in ((table, labels), (null, of_null))
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])
