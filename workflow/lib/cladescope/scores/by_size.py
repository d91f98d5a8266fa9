"""The scores of the internal nodes by how many classes they have, each beside its null.

A latent for one class has an MCC of .7 with a node of two: where nodes are small, a recovered one
says little.
"""

from collections.abc import Sequence

import numpy as np

from cladescope.scores.measure import mean_of
from cladescope.scores.nulls import INTERVAL
from cladescope.scores.passes import Result, or_none
from cladescope.taxonomy.tree import Tree

SIZES = {"all": (2, None), "2": (2, 2), "3": (3, 3), "4-15": (4, 15), "16+": (16, None)}
"""Fewest and most classes of the nodes of each row."""
BY_SIZE = ("node_recovery", "own_best_recovery", "held_out")
"""Scores that are means over nodes, with a value for each node in each permutation."""


def node_values(result: Result, tree: Tree) -> dict[str, np.ndarray]:
    """Return what each internal node adds to the scores of `BY_SIZE`: float64 (n_internal,)."""
    alignment = result.found.alignment
    return {
        "node_recovery": (alignment.finders[tree.internal] > 0).astype(np.float64),
        "own_best_recovery": (alignment.own_finders[tree.internal] > 0).astype(np.float64),
        "held_out": result.held_out,
    }


def above_null(observed: Result, permuted: Sequence[Result], tree: Tree) -> np.ndarray:
    """Say which internal nodes are matched better than in 97.5% of the permutations.

    Returns
    -------
    float64 (n_internal,): 1 or 0; NaN without permutations. Chance alone gives a share of .025.
    """
    mcc = np.nan_to_num(observed.found.alignment.node_mcc[tree.internal], nan=0.0)
    if not permuted:
        return np.full(len(mcc), np.nan)
    draws = [np.nan_to_num(r.found.alignment.node_mcc[tree.internal], nan=0.0) for r in permuted]
    return (mcc > np.percentile(draws, INTERVAL[1], axis=0)).astype(np.float64)


def scores_by_size(
    observed: Result, permuted: Sequence[Result], beyond: np.ndarray, tree: Tree
) -> list[dict[str, float | int | str | None]]:
    """Return one row per size: number of nodes, and each score with its permuted null.

    `beyond` is what `above_null` returns. A row without nodes has no scores. Means leave out the
    nodes that have no score.
    """
    n_leaves = tree.n_leaves[tree.internal]
    values, draws = node_values(observed, tree), [node_values(drawn, tree) for drawn in permuted]
    rows = []
    for size, (least, most) in SIZES.items():
        kept = (n_leaves >= least) & (n_leaves <= (most or n_leaves))
        row: dict[str, float | int | str | None] = {"size": size, "n_nodes": int(kept.sum())}
        for name in BY_SIZE:
            row[name] = or_none(mean_of(values[name][kept]))
            null = [mean for drawn in draws if not np.isnan(mean := mean_of(drawn[name][kept]))]
            row[f"{name}_null_permuted"] = or_none(mean_of(np.array(null)))
            high = float(np.percentile(null, INTERVAL[1])) if len(null) else None
            row[f"{name}_null_permuted_high"] = high
        row["node_recovery_above_null"] = or_none(mean_of(beyond[kept]))
        rows.append(row)
    return rows
