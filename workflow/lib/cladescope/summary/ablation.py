"""What ablating the latents of nodes does, over nodes: one row for each dictionary and size."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cladescope.causes.kinds import (
    CHOSEN,
    DIRECTIONS,
    MATCHED,
    MEASURES,
    PERMUTED,
    PROJECTED,
    PROJECTED_PERMUTED,
    SHRUNK,
)
from cladescope.scores.by_size import SIZES
from cladescope.summary.intervals import interval_of_mean

NULLS = (MATCHED, DIRECTIONS, SHRUNK, PERMUTED)
COMPARED = ("delta_in", "selectivity", "within", "evenness")
"""Measures that have every null; `steered` has that of other directions alone."""
ABOUT = ("readout", "accuracy", "n_images", "n_copies")


def summarise(
    table: pd.DataFrame, about: Mapping[str, Any], draws: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of latents and each size of the nodes; columns in docs/causes.md.

    Intervals resample nodes. Nodes have classes in common, so that they are not independent: an
    interval says how much hangs on which nodes there are, not how sure the mean is.
    """
    for n_latents, part in table.groupby("n_latents", sort=True):
        chosen = part[part["kind"] == CHOSEN].set_index("wnid")
        for size, (least, most) in SIZES.items():
            kept = chosen.index[chosen["n_leaves"].between(least, most or np.inf)]
            nodes = {
                str(kind): rows[rows["wnid"].isin(kept)] for kind, rows in part.groupby("kind")
            }
            yield {
                "n_latents": n_latents,
                "size": size,
                "n_nodes": len(kept),
                **{name: about[name] for name in ABOUT},
                **_means(nodes, draws, seed),
                "tpp": about["tpp"].get(str(n_latents)) if size == "all" else None,
            }


def _means(rows: Mapping[str, pd.DataFrame], draws: int, seed: int) -> dict[str, Any]:
    """Average over nodes; a permuted kind over its draws first."""
    nodes = {
        kind: mine.groupby("wnid", sort=False)[list(MEASURES)].mean() for kind, mine in rows.items()
    }
    chosen = nodes[CHOSEN]
    found: dict[str, Any] = {name: chosen[name].mean() for name in MEASURES}
    excess = chosen["selectivity"] - nodes[DIRECTIONS]["selectivity"]
    found["selectivity_excess"] = excess.mean()
    for name, values in (("selectivity", chosen["selectivity"]), ("selectivity_excess", excess)):
        low, high = interval_of_mean(values.dropna().to_numpy(), draws, seed)
        found |= {f"{name}_low": low, f"{name}_high": high}
    for null in NULLS:
        found |= {f"{name}_null_{null}": nodes[null][name].mean() for name in COMPARED}
    found[f"steered_null_{DIRECTIONS}"] = nodes[DIRECTIONS]["steered"].mean()
    found["projected"] = nodes[PROJECTED]["selectivity"].mean()
    found[f"projected_null_{PERMUTED}"] = nodes[PROJECTED_PERMUTED]["selectivity"].mean()
    for name, kind in (("selectivity", PERMUTED), ("projected", PROJECTED_PERMUTED)):
        of_draws = rows[kind].groupby("draw")["selectivity"].mean()
        found[f"{name}_null_{PERMUTED}_sd"] = of_draws.std(ddof=1)
    return {name: None if pd.isna(value) else value for name, value in found.items()}
