"""What ablating the latents of nodes does, over nodes: one row for each dictionary and size."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

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
from cladescope.files import reading
from cladescope.scores.by_size import SIZES
from cladescope.scores.nulls import INTERVAL
from cladescope.summary.tables import tabulate_summaries

NULLS = (MATCHED, DIRECTIONS, SHRUNK, PERMUTED)
COMPARED = ("delta_in", "selectivity", "within", "evenness")
"""Measures that have every null; `steered` has that of other directions alone."""
ABOUT = ("readout", "accuracy", "n_images", "n_copies")


def tabulate_ablation(
    identities: Sequence[Mapping[str, Any]],
    files: Sequence[str],
    draws: int,
    seed: int,
    made: pd.DataFrame,
    path: str | Path,
) -> None:
    """Average over nodes into a CSV table; docs/causes.md has the columns.

    Parameters
    ----------
    identities
        For each dictionary, the columns that say which it is.
    files
        For each dictionary, in the same order, the file of `ablate`.
    draws
        Bootstrap resamples over the nodes.
    made
        Provenance of each dictionary, by its name; every row ends with it.
    """
    summaries = (summarise(*read_ablation(file), draws, seed) for file in files)
    tabulate_summaries(identities, summaries, made, path)


def read_ablation(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return what `ablate` wrote: the rows, and what holds for the whole dictionary."""
    with reading(path):
        table = pq.read_table(path)
    return table.to_pandas(), json.loads(table.schema.metadata[b"about"])


def summarise(
    table: pd.DataFrame, about: Mapping[str, Any], draws: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of latents and each size of the nodes.

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
        found |= _interval(name, values.dropna().to_numpy(), draws, seed)
    for null in NULLS:
        found |= {f"{name}_null_{null}": nodes[null][name].mean() for name in COMPARED}
    found[f"steered_null_{DIRECTIONS}"] = nodes[DIRECTIONS]["steered"].mean()
    found["projected"] = nodes[PROJECTED]["selectivity"].mean()
    found[f"projected_null_{PERMUTED}"] = nodes[PROJECTED_PERMUTED]["selectivity"].mean()
    for name, kind in (("selectivity", PERMUTED), ("projected", PROJECTED_PERMUTED)):
        of_draws = rows[kind].groupby("draw")["selectivity"].mean()
        found[f"{name}_null_{PERMUTED}_sd"] = of_draws.std(ddof=1)
    return {name: None if pd.isna(value) else value for name, value in found.items()}


def _interval(name: str, values: np.ndarray, draws: int, seed: int) -> dict[str, float]:
    if not len(values):
        return dict.fromkeys((f"{name}_low", f"{name}_high"), np.nan)
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile(values[picks].mean(1), INTERVAL)
    return {f"{name}_low": low, f"{name}_high": high}
