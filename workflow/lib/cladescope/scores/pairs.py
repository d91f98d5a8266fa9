"""Do a node's latents follow what its classes share? Tested on pairs that differ in one thing.

The latents were chosen for the node on other images (`nodes.parquet`); a pair shows what happens to
them when one thing about an image changes and nothing else. TAPA is the mean change of "any of
the latents fires" when it is added minus that when it is removed, halved, so that it is 1 for
latents that fire exactly where it is (after arXiv 2606.24716).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.files import write_aside
from cladescope.names import WITHIN
from cladescope.scores.by_size import SIZES
from cladescope.scores.contrasts import (
    SHARED,
    Contrast,
    Contrasts,
)
from cladescope.scores.matched import DRAWS, SETS, Matched, match
from cladescope.scores.nulls import INTERVAL

_MEASURES = {
    "n_pairs": pa.int32(),
    "pixel_change": pa.float64(),
    "fires": pa.float64(),
    **{
        f"{measure}{end}": pa.float64()
        for measure in ("answer", "flips")
        for end in ("", "_low", "_high", "_random", "_random_low", "_random_high")
    },
}
PAIR_SCHEMA = pa.schema(
    {
        "nodes": pa.string(),
        "latents": pa.string(),
        "change": pa.string(),
        "n_nodes": pa.int32(),
        **_MEASURES,
    }
)
PAIR_NODE_SCHEMA = pa.schema(
    {
        "wnid": pa.string(),
        "name": pa.string(),
        "n_leaves": pa.int32(),
        "latents": pa.string(),
        "coalition": pa.string(),
        "change": pa.string(),
        **_MEASURES,
    }
)


class PairScores(NamedTuple):
    """The results; docs/causes.md defines every column."""

    means: pa.Table
    """One row per group of nodes, set of latents and contrast."""
    nodes: pa.Table
    """One row per node, set of latents and contrast."""

    def save(self, means: str | Path, nodes: str | Path) -> None:
        """Write both as Parquet; the same scores make the same bytes."""
        for table, path in ((self.means, means), (self.nodes, nodes)):
            with write_aside(path) as aside:
                pq.write_table(table, aside, compression="zstd")


def score_pairs(
    contrasts: Contrasts,
    nodes: pd.DataFrame,
    latents: pd.DataFrame,
    firing: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> PairScores:
    """Score the latents that were matched to each node on its pairs.

    Parameters
    ----------
    contrasts
        The pairs.
    nodes, latents
        The tables of `score_dictionary`.
    firing
        Given int (n,) latents, on which images of the pairs they fire: bool (n_images, n).
    seed
        Of the random latents.

    Raises
    ------
    ValueError
        If a pair is of a node that `nodes` lacks.
    """
    if unknown := sorted({*contrasts.wnids} - {*nodes["wnid"]}):
        raise ValueError(f"pairs of {', '.join(unknown)}, which are no internal nodes")
    nodes = nodes.set_index("wnid").loc[contrasts.wnids].reset_index()
    matched = match(nodes, latents, seed)
    needed = np.unique(
        np.concatenate([ids.ravel() for sets in matched for part in sets.values() for ids in part])
    )
    fires, groups = firing(needed), _groups(nodes, contrasts)
    every = np.eye(len(nodes), dtype=bool)
    about_node = {name: nodes[name].to_numpy() for name in ("wnid", "name", "n_leaves")}
    means, by_node = [], []
    for name in SETS:
        columns = [
            Matched(*(np.searchsorted(needed, ids) for ids in sets[name])) for sets in matched
        ]
        fired = np.stack([fires[:, own.latents].any(1) for own in columns])
        coalition = [" ".join(map(str, sets[name].latents)) or None for sets in matched]
        about_node["coalition"] = np.array(coalition, object)
        random = _random_answers(contrasts, columns, fires)
        for change, contrast in contrasts.by_name.items():
            measured = _Measured.of(change, contrast, fired, random[change])
            about = {"latents": name, "change": change}
            table = measured.means(np.stack([*groups.values()]))
            means.append({**about, "nodes": np.array([*groups]), **table})
            by_node.append({**about, **about_node, **measured.means(every)})
    return PairScores(_table(means, PAIR_SCHEMA), _table(by_node, PAIR_NODE_SCHEMA))


def _random_answers(
    contrasts: Contrasts, columns: Sequence[Matched], fires: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the mean change, and the mean of its size, of each random set on each node's pairs.

    Returns
    -------
    For each contrast float64 (2, n_nodes, DRAWS), NaN for nodes without random latents.
    """
    answers = {name: np.full((2, len(columns), DRAWS), np.nan) for name in contrasts.by_name}
    order = {
        name: np.searchsorted(contrast.node, np.arange(len(columns) + 1))
        for name, contrast in contrasts.by_name.items()
    }
    for node, own in enumerate(columns):
        if not len(own.random):
            continue
        places = {name: slice(*start[node : node + 2]) for name, start in order.items()}
        ends = [
            contrasts.by_name[name][side][place]
            for name, place in places.items()
            for side in (1, 2)
        ]
        images = np.unique(np.concatenate(ends))
        fired = fires[images][:, own.random].any(2).astype(np.float32)
        for name, place in places.items():
            contrast = contrasts.by_name[name]
            having, lacking = (
                np.searchsorted(images, side[place]) for side in (contrast.having, contrast.lacking)
            )
            change, weight = fired[having] - fired[lacking], contrast.weight[place]
            answers[name][:, node] = weight @ change, weight @ abs(change)
    return answers


class _Measured(NamedTuple):
    """How a set of latents of each node takes one contrast."""

    contrast: Contrast
    change: dict[str, np.ndarray]
    """By measure, float64 (n_pairs,)."""
    random: dict[str, np.ndarray]
    """By measure, float64 (n_nodes, DRAWS)."""
    fires: np.ndarray
    """float64 (n_nodes,)."""

    @classmethod
    def of(
        cls, name: str, contrast: Contrast, fired: np.ndarray, random: np.ndarray
    ) -> "_Measured":
        """Compare the two images of each pair; bool (n_nodes, n_images) `fired`."""
        having = fired[contrast.node, contrast.having].astype(np.float64)
        change = having - fired[contrast.node, contrast.lacking]
        changes = {"answer": change, "flips": abs(change)}
        if name == WITHIN:
            # Neither image has what the other lacks.
            del changes["answer"]
        return cls(
            contrast,
            changes,
            dict(zip(("answer", "flips"), random, strict=True)),
            contrast.mean(having, len(fired)),
        )

    def means(self, groups: np.ndarray) -> dict[str, np.ndarray]:
        """Average over the nodes of each group that have pairs: bool (n_groups, n_nodes)."""
        n_pairs = self.contrast.n_pairs(groups.shape[1])
        groups = groups & (n_pairs > 0)
        n_nodes = groups.sum(1)

        def over(values: np.ndarray) -> np.ndarray:
            """Average (n_nodes,) or (n_nodes, DRAWS) over those that are known."""
            known = ~np.isnan(values)
            count = groups.astype(np.float64) @ known
            total = groups.astype(np.float64) @ np.where(known, values, 0)
            return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

        def within(values: np.ndarray) -> np.ndarray:
            return self.contrast.mean(values, groups.shape[1])

        columns = {
            "n_nodes": n_nodes,
            "n_pairs": groups @ n_pairs,
            "pixel_change": over(within(self.contrast.pixel_change)),
            "fires": over(self.fires),
        }
        for name, values in self.change.items():
            mean, margin = over(within(values)), self.contrast.margins(values, groups)
            random = over(self.random[name])
            low, high = np.percentile(random, INTERVAL, axis=1)
            columns |= {
                name: mean,
                f"{name}_low": np.maximum(mean - margin, -1 if name == "answer" else 0),
                f"{name}_high": np.minimum(mean + margin, 1),
                f"{name}_random": random.mean(1),
                f"{name}_random_low": low,
                f"{name}_random_high": high,
            }
        return columns


def _groups(nodes: pd.DataFrame, contrasts: Contrasts) -> dict[str, np.ndarray]:
    """Return the nodes of each row of the table of means: bool (n_nodes,)."""
    n_leaves, shared = nodes["n_leaves"].to_numpy(), np.zeros(len(nodes), bool)
    if SHARED in contrasts.by_name:
        shared[contrasts.by_name[SHARED].node] = True
    sizes = {
        size: (n_leaves >= least) & (n_leaves <= (most or n_leaves))
        for size, (least, most) in SIZES.items()
    }
    return {**sizes, "shared": shared, "unshared": ~shared}


def _table(parts: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Put columns below each other, without rows of no pairs; NaN and what a part lacks is null."""
    kept = [part["n_pairs"] > 0 for part in parts]
    columns = [
        np.concatenate(
            [
                np.broadcast_to(np.array(part.get(field.name), object), rows.shape)[rows]
                for part, rows in zip(parts, kept, strict=True)
            ]
        )
        for field in schema
    ]
    arrays = zip(columns, schema, strict=True)
    return pa.table(
        [pa.array(values, field.type, from_pandas=True) for values, field in arrays], schema
    )
