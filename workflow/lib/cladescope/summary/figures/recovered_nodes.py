"""Which nodes of the taxonomy are recovered, from layer to layer."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cladescope.summary.figures.base import remark, set_style, short_name
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import INTERNAL, Tree

SHOWN_NODES = 60
CHARACTER_POINTS = 3.5
TREE, NULL, RANDOM = "recovered", "leaves permuted (null)", "random backbone"


def plot_recovered_nodes(
    nodes: pd.DataFrame,
    metrics: pd.DataFrame,
    taxonomy: Taxonomy,
    dataset: str,
    undrawn: Sequence[str],
) -> Figure:
    """Draw how many of a dataset's TopK dictionaries recover each node, by layer.

    Beside it the share of permutations of the leaves that recover it, and a random backbone. Nodes
    stand below the first of their parents; of more than `SHOWN_NODES` those with most classes.

    Parameters
    ----------
    nodes, metrics
        The tables of those names.
    undrawn
        Nodes (wnids) that were declared to have nothing in common; marked as such.
    """
    set_style()
    kept = metrics[(metrics["variant"] == "topk") & (metrics["dataset"] == dataset)]
    table = nodes.merge(kept[["dictionary", "layer", "weights"]], on="dictionary")
    random = table["weights"] == "random"
    if (kept["weights"] == "random").all():
        return remark("no trained dictionary on a trained backbone")
    if table.empty:
        return remark("no internal node below the root")
    order = _in_tree_order(Tree.of(taxonomy))
    order = order[order["wnid"].isin(table["wnid"])]
    largest = order.nlargest(SHOWN_NODES, "n_leaves", keep="all").index[:SHOWN_NODES]
    order = order.loc[order.index.isin(largest)]
    panels = {
        TREE: _shares(table[~random], "recovered", order),
        NULL: _shares(table[~random], "recovered_null_permuted", order),
    }
    if random.any():
        panels[RANDOM] = _shares(table[random], "recovered", order)
    names = [
        f"{'   ' * level}{name} ({n})" + ("  undrawn" if wnid in {*undrawn} else "")
        for wnid, name, level, n in zip(
            order["wnid"], order["name"], order["level"], order["n_leaves"], strict=True
        )
    ]
    return _heatmaps(panels, names)


def _heatmaps(panels: dict[str, pd.DataFrame], names: list[str]) -> Figure:
    """Draw the panels beside each other, with the names of the rows on the left."""
    # Names are set flush left, so that the indents show.
    margin = CHARACTER_POINTS * max(map(len, names))
    figure, axes = plt.subplots(
        1,
        len(panels),
        sharey=True,
        figsize=(
            margin / 72 + 1 + sum(0.5 + 0.3 * part.shape[1] for part in panels.values()),
            1 + 0.17 * len(names),
        ),
        width_ratios=[part.shape[1] for part in panels.values()],
        layout="constrained",
    )
    for axis, (title, shares) in zip(axes, panels.items(), strict=True):
        sns.heatmap(
            shares,
            vmin=0,
            vmax=1,
            cmap="viridis",
            linewidths=0.4,
            cbar=axis is axes[-1],
            cbar_kws={"label": "share of dictionaries"},
            yticklabels=names,
            ax=axis,
        )
        axis.set(title=title, xlabel="layer", ylabel="")
        axis.tick_params(axis="y", length=0, labelsize=7)
        for label in axis.get_yticklabels():
            label.set_horizontalalignment("left")
        axis.tick_params(axis="y", pad=margin)
    return figure


def _shares(table: pd.DataFrame, column: str, order: pd.DataFrame) -> pd.DataFrame:
    means = table.astype({column: float}).pivot_table(column, "wnid", "layer", dropna=False)
    return means.reindex(order["wnid"])


def _in_tree_order(tree: Tree) -> pd.DataFrame:
    """Return wnid, name, level and n_leaves of the internal nodes, children below their parents."""
    parents, children = tree.edges
    below: dict[int, list[int]] = {}
    for parent, child in zip(parents.tolist(), children.tolist(), strict=True):
        if tree.kind[child] == INTERNAL:
            below.setdefault(parent, []).append(child)
    rows, seen = [], set()

    def visit(nodes: list[int], level: int) -> None:
        for node in sorted(nodes, key=lambda node: (-tree.n_leaves[node], node)):
            if node not in seen:
                seen.add(node)
                name = short_name(tree.taxonomy.names[tree.node[node]])
                rows.append((tree.wnids[node], name, level, tree.n_leaves[node]))
                visit(below.get(node, []), level + 1)

    visit(np.setdiff1d(tree.internal, children).tolist(), 0)
    return pd.DataFrame(rows, columns=["wnid", "name", "level", "n_leaves"])
