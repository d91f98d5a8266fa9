"""Are nodes that share a drawing recovered more often than those that do not, at the same size?"""

from typing import Any

import numpy as np
import pandas as pd

from cladescope.scores.nulls import INTERVAL

RESAMPLES = 1000
SEED = 0
ARM = ["experiment", "token", "layer", "variant"]


def contrast_drawn(nodes: pd.DataFrame, metrics: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Compare recovery of the planted world's drawn and undrawn nodes.

    Which nodes are drawn was declared with the drawings, before any score (docs/planted.md). For
    every experiment, token, layer and variant: recovered share of either kind, and their
    difference at matched size, Σ w (d − u) / Σ w over strata of the number of classes (2–3, 4–7,
    8–15, ...), where d and u are the shares of the n_d drawn and n_u undrawn nodes of a stratum
    and w = n_d n_u / (n_d + n_u) (Mantel & Haenszel 1959). A 95% bootstrap interval over the nodes
    and the same difference under the permuted-leaf null stand beside it.

    Parameters
    ----------
    nodes, metrics
        The tables of those names.
    drawn
        `resources/planted/nodes.csv`: wnid, drawn.
    """
    is_drawn = drawn.set_index("wnid")["drawn"]
    table = nodes.merge(metrics[["dictionary", *ARM]], on="dictionary")
    table = table[table["wnid"].isin(is_drawn.index)]
    rows = []
    for key, part in table.groupby(ARM, sort=False):
        by_node = part.groupby("wnid")[["n_leaves", "recovered", "recovered_null_permuted"]].mean()
        flag = is_drawn.loc[by_node.index].to_numpy(bool)
        rows.append(
            dict[Any, Any](zip(ARM, key, strict=True))
            | {
                "n_dictionaries": part["dictionary"].nunique(),
                "n_drawn": int(flag.sum()),
                "n_undrawn": int((~flag).sum()),
                "recovered_drawn": by_node["recovered"][flag].mean(),
                "recovered_undrawn": by_node["recovered"][~flag].mean(),
            }
            | _matched(by_node, flag, np.random.default_rng(SEED))
        )
    return pd.DataFrame(rows)


def _matched(
    by_node: pd.DataFrame, flag: np.ndarray, random: np.random.Generator
) -> dict[Any, float]:
    values = by_node["recovered"].to_numpy(float)
    null = by_node["recovered_null_permuted"].to_numpy(float)
    stratum = np.floor(np.log2(by_node["n_leaves"].to_numpy(float))).astype(int)
    every = np.arange(len(flag))
    resamples = []
    for _ in range(RESAMPLES):
        nodes = random.choice(every, len(every))
        resamples.append(_difference(flag[nodes], stratum[nodes], values[nodes]))
    known = [value for value in resamples if not np.isnan(value)]
    low, high = np.percentile(known, INTERVAL) if known else (np.nan, np.nan)
    both = np.intersect1d(stratum[flag], stratum[~flag])
    return {
        "n_matched": int(np.isin(stratum, both).sum()),
        "matched_difference": _difference(flag, stratum, values),
        "matched_difference_low": low,
        "matched_difference_high": high,
        "matched_difference_null_permuted": _difference(flag, stratum, null),
    }


def _difference(flag: np.ndarray, stratum: np.ndarray, values: np.ndarray) -> float:
    n = stratum.max() + 1
    n_drawn, n_undrawn = (np.bincount(stratum[part], minlength=n) for part in (flag, ~flag))
    both = (n_drawn > 0) & (n_undrawn > 0)
    if not both.any():
        return np.nan
    drawn, undrawn = (
        np.bincount(stratum[part], values[part], minlength=n)[both] for part in (flag, ~flag)
    )
    n_drawn, n_undrawn = n_drawn[both], n_undrawn[both]
    weight = n_drawn * n_undrawn / (n_drawn + n_undrawn)
    return float(weight @ (drawn / n_drawn - undrawn / n_undrawn) / weight.sum())
