"""Are nodes that share a drawing recovered more often than those that do not, at the same size?"""

from typing import Any

import numpy as np
import pandas as pd

from cladescope.nulls import INTERVAL

SIZE_RATIO = 1.5
"""Nodes are of matched size if neither has more classes than the other times this."""
RESAMPLES = 1000


def contrast_drawn(
    nodes: pd.DataFrame, metrics: pd.DataFrame, drawn: pd.DataFrame, seed: int = 0
) -> pd.DataFrame:
    """Compare recovery of the planted world's drawn and undrawn nodes.

    Which nodes are drawn was declared with the drawings, before any score (docs/planted.md). For
    every experiment, token, layer and variant: recovered share of either kind; and, for matched
    sizes, the mean over the undrawn nodes of the drawn nodes' recovery within `SIZE_RATIO` of
    their size minus their own, with a 95% bootstrap interval over the nodes. The same difference
    under the permuted-leaf null stands beside it.

    Parameters
    ----------
    nodes, metrics
        The tables of those names.
    drawn
        `resources/planted/nodes.csv`: wnid, drawn.
    """
    is_drawn = drawn.set_index("wnid")["drawn"]
    keys = ["experiment", "token", "layer", "variant"]
    table = nodes.merge(metrics[["dictionary", *keys]], on="dictionary")
    table = table[table["wnid"].isin(is_drawn.index)]
    rows = []
    for key, part in table.groupby(keys, sort=False):
        by_node = part.groupby("wnid")[["n_leaves", "recovered", "recovered_null_permuted"]].mean()
        flag = is_drawn.loc[by_node.index].to_numpy(bool)
        rows.append(
            dict[Any, Any](zip(keys, key, strict=True))
            | {
                "n_dictionaries": part["dictionary"].nunique(),
                "n_drawn": int(flag.sum()),
                "n_undrawn": int((~flag).sum()),
                "recovered_drawn": by_node["recovered"][flag].mean(),
                "recovered_undrawn": by_node["recovered"][~flag].mean(),
            }
            | _matched(by_node, flag, np.random.default_rng(seed))
        )
    return pd.DataFrame(rows)


def _matched(
    by_node: pd.DataFrame, flag: np.ndarray, random: np.random.Generator
) -> dict[Any, float]:
    values = by_node["recovered"].to_numpy(float)
    null = by_node["recovered_null_permuted"].to_numpy(float)
    size = np.log(by_node["n_leaves"].to_numpy(float))
    drawn, undrawn = np.flatnonzero(flag), np.flatnonzero(~flag)
    resamples = [
        _difference(
            random.choice(drawn, len(drawn)), random.choice(undrawn, len(undrawn)), size, values
        )
        for _ in range(RESAMPLES if len(drawn) and len(undrawn) else 0)
    ]
    known = [value for value in resamples if not np.isnan(value)]
    low, high = np.percentile(known, INTERVAL) if known else (np.nan, np.nan)
    near = np.abs(size[undrawn][:, None] - size[drawn]) <= np.log(SIZE_RATIO) + 1e-9
    return {
        "n_undrawn_matched": int(near.any(1).sum()),
        "matched_difference": _difference(drawn, undrawn, size, values),
        "matched_difference_low": low,
        "matched_difference_high": high,
        "matched_difference_null_permuted": _difference(drawn, undrawn, size, null),
    }


def _difference(
    drawn: np.ndarray, undrawn: np.ndarray, size: np.ndarray, values: np.ndarray
) -> float:
    near = np.abs(size[undrawn][:, None] - size[drawn]) <= np.log(SIZE_RATIO) + 1e-9
    matched = near.any(1)
    if not matched.any():
        return np.nan
    others = (near @ values[drawn])[matched] / near.sum(1)[matched]
    return float((others - values[undrawn][matched]).mean())
