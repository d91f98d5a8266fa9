"""Do a node's latents follow what its classes share? Tested on pairs that differ in one thing.

The latents were chosen for the node on other images (`nodes.parquet`); a pair shows what happens to
them when one thing about an image changes and nothing else. TAPA is the mean change of "any of
the latents fires" when it is added minus that when it is removed, halved, so that it is 1 for
latents that fire exactly where it is (after arXiv 2606.24716).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.files import write_aside
from cladescope.names import WITHIN
from cladescope.scores.by_size import SIZES
from cladescope.scores.contrasts import (
    CONTRASTS,
    SHARED,
    Contrast,
    Sample,
    clusters_of,
    contrasts_of,
    mean_with_margin,
)
from cladescope.scores.nulls import INTERVAL, Stream

SETS = ("best", "coalition")
"""Latents of a node: the one that matches it best, and those that its coalition takes."""
DRAWS = 100
"""Sets of random latents."""
NEAREST = 10
"""Latents of nearest rate that one is drawn from."""
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


class Matched(NamedTuple):
    """A set of latents of one node, and what it is compared with."""

    latents: np.ndarray
    """int (n,): none fires on an image of the node if it is empty."""
    random: np.ndarray
    """int (DRAWS, n): latents of similar rate that were not chosen; (0, n) if there are too few."""


class Answers(NamedTuple):
    """How a set of latents takes the pairs of one node and contrast."""

    contrast: Contrast
    fires: float
    """Share of the images that have it on which any of the latents fires."""
    change: np.ndarray
    """float64 (n_pairs,): −1, 0, 1: fires with it less fires without."""
    random: np.ndarray
    """float64 (2, DRAWS): means of the same and of its size, of each set of random latents."""


def score_pairs(
    pairs: pd.DataFrame,
    nodes: pd.DataFrame,
    latents: pd.DataFrame,
    firing: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> PairScores:
    """Score the latents that were matched to each node on its pairs.

    Parameters
    ----------
    pairs
        What `index_pairs` returns.
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
    if unknown := sorted({*pairs["node"]} - {*nodes["wnid"]}):
        raise ValueError(f"pairs of {', '.join(unknown)}, which are no internal nodes")
    pairs = pairs.assign(cluster=clusters_of(pairs))
    matched = match(nodes, latents, seed)
    needed = np.unique(
        np.concatenate([ids.ravel() for sets in matched for part in sets.values() for ids in part])
    )
    fires = firing(needed)
    by_node = dict([*pairs.groupby("node")])
    found: dict[tuple[str, str], dict[int, Answers]] = {}
    for row, wnid in enumerate(nodes["wnid"]):
        contrasts = contrasts_of(by_node[wnid]) if wnid in by_node else {}
        for name in SETS if contrasts else ():
            columns = Matched(*(np.searchsorted(needed, ids) for ids in matched[row][name]))
            for change, contrast in contrasts.items():
                found.setdefault((name, change), {})[row] = _answers(contrast, columns, fires)
    return PairScores(_mean_table(found, nodes), _node_table(found, nodes, matched))


def match(nodes: pd.DataFrame, latents: pd.DataFrame, seed: int) -> list[dict[str, Matched]]:
    """Return each node's latents, and random ones to compare them with.

    Random latents are scored and not chosen for the node. Each of a draw is one of the `NEAREST` in
    the number of images that they fire on, of those that the draw has not taken yet.
    """
    random = np.random.default_rng((seed, Stream.PAIRS))
    scored = latents.loc[latents["status"] == "scored", ["latent", "n_firing"]].to_numpy(np.int64)
    rate = np.zeros(len(latents), np.int64)
    rate[latents["latent"]] = latents["n_firing"]
    matched = []
    for best, coalition in nodes[["best_latent", "coalition"]].itertuples(index=False):
        sets = {
            "best": np.array([] if pd.isna(best) else [best], np.int64),
            "coalition": np.array(
                coalition.split() if isinstance(coalition, str) else [], np.int64
            ),
        }
        others = scored[~np.isin(scored[:, 0], np.concatenate([*sets.values()]))]
        matched.append(
            {
                name: Matched(ids, _of_like_rate(ids, rate, others, random))
                for name, ids in sets.items()
            }
        )
    return matched


def _of_like_rate(
    latents: np.ndarray, rate: np.ndarray, others: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Draw sets of other latents, each of a rate like that of one of these."""
    if len(others) < max(len(latents), 1):
        return np.empty((0, len(latents)), np.int64)
    size = min(NEAREST + len(latents) - 1, len(others))
    order = [np.argsort(abs(others[:, 1] - rate[j]), kind="stable")[:size] for j in latents]
    taken = np.zeros((DRAWS, len(others)), bool)
    drawn = np.empty((DRAWS, len(latents)), np.int64)
    for n, near in enumerate(order):
        key = random.random((DRAWS, size))
        key[taken[:, near]] = 2
        # The nearest that are left, and one of them at random.
        left = ~taken[:, near]
        key[left.cumsum(1) > NEAREST] = 2
        place = near[key.argmin(1)]
        taken[np.arange(DRAWS), place] = True
        drawn[:, n] = others[place, 0]
    return drawn


def _answers(contrast: Contrast, columns: Matched, fires: np.ndarray) -> Answers:
    images, place = np.unique(
        np.concatenate([contrast.having, contrast.lacking]), return_inverse=True
    )
    having, lacking = place[: len(contrast.having)], place[len(contrast.having) :]
    here = fires[images]
    any_fires = here[:, columns.latents].any(1).astype(np.float64)
    change = any_fires[having] - any_fires[lacking]
    of_random = here[:, columns.random].any(2).astype(np.float64)
    changes = of_random[having] - of_random[lacking]
    random = np.stack([contrast.weight @ changes, contrast.weight @ abs(changes)])
    return Answers(contrast, float(contrast.weight @ any_fires[having]), change, random)


def _groups(nodes: pd.DataFrame, shared: set[int]) -> dict[str, set[int]]:
    """Rows of the nodes in each row of the table of means."""
    rows, n_leaves = np.arange(len(nodes)), nodes["n_leaves"].to_numpy()
    sizes = {
        size: {*rows[(n_leaves >= least) & (n_leaves <= (most or n_leaves))].tolist()}
        for size, (least, most) in SIZES.items()
    }
    return {**sizes, "shared": shared, "unshared": {*rows.tolist()} - shared}


def _mean_table(found: dict[tuple[str, str], dict[int, Answers]], nodes: pd.DataFrame) -> pa.Table:
    groups = _groups(nodes, {*found.get((SETS[0], SHARED), {})})
    rows = []
    for group, members in groups.items():
        for name in SETS:
            for change in CONTRASTS:
                kept = {
                    row: a for row, a in found.get((name, change), {}).items() if row in members
                }
                if kept:
                    about = {"nodes": group, "latents": name, "change": change}
                    rows.append({**about, "n_nodes": len(kept), **_measure(kept, change)})
    return pa.Table.from_pylist(rows, PAIR_SCHEMA)


def _node_table(
    found: dict[tuple[str, str], dict[int, Answers]],
    nodes: pd.DataFrame,
    matched: Sequence[dict[str, Matched]],
) -> pa.Table:
    rows = []
    for row, (wnid, name, n_leaves) in enumerate(
        nodes[["wnid", "name", "n_leaves"]].itertuples(index=False)
    ):
        for key in [
            (s, change) for s in SETS for change in CONTRASTS if row in found.get((s, change), {})
        ]:
            about = {"wnid": wnid, "name": name, "n_leaves": n_leaves, "latents": key[0]}
            about["coalition"] = " ".join(map(str, matched[row][key[0]].latents)) or None
            measures = _measure({row: found[key][row]}, key[1])
            rows.append({**about, "change": key[1], **measures})
    return pa.Table.from_pylist(rows, PAIR_NODE_SCHEMA)


def _measure(answers: dict[int, Answers], change: str) -> dict[str, float | int | None]:
    """Average what some nodes' latents do, each node counting the same."""
    parts = [*answers.values()]
    sizes = [len(part.change) for part in parts]
    value, weight, cluster = (
        np.concatenate(column)
        for column in zip(
            *((p.change, p.contrast.weight, p.contrast.cluster) for p in parts), strict=True
        )
    )
    sample = Sample(value, weight, np.repeat(np.arange(len(parts)), sizes), cluster)
    pixels = np.array([part.contrast.weight @ part.contrast.pixel_change for part in parts])
    row: dict[str, float | int | None] = {
        "n_pairs": sum(sizes),
        "pixel_change": None if np.isnan(pixels).all() else float(np.nanmean(pixels)),
        "fires": float(np.mean([part.fires for part in parts])),
    }
    random = np.stack([p.random for p in parts if p.random.shape[1]] or [np.empty((2, 0))]).mean(0)
    measures = {"answer": (sample, 0), "flips": (sample._replace(value=abs(value)), 1)}
    if change == WITHIN:
        # Neither image has what the other lacks.
        del measures["answer"]
    for name, (values, number) in measures.items():
        mean, margin = mean_with_margin(values)
        least = -1.0 if name == "answer" else 0.0
        row |= {name: mean, f"{name}_low": max(least, mean - margin)}
        row[f"{name}_high"] = min(1.0, mean + margin)
        if random.shape[-1]:
            low, high = np.percentile(random[number], INTERVAL)
            row |= {f"{name}_random": float(random[number].mean())}
            row |= {f"{name}_random_low": float(low), f"{name}_random_high": float(high)}
    return row
