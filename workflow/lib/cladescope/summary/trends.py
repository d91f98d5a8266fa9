"""From one row per dictionary to statements: over seeds, over depth, between kinds of dictionaries.

`docs/scores.md` defines the columns of the tables.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from cladescope.names import NORMAL_95, SCORES
from cladescope.scores.nulls import INTERVAL, benjamini_hochberg
from cladescope.sweep import TRAINED

DIRECTED = [name for name, score in SCORES.items() if score.hierarchical]
"""Scores that say which of two dictionaries is the more hierarchical one."""
ARM = ["experiment", "dataset", "model", "weights", "token"]
KIND = ["variant", "width", "sparsity"]
RESAMPLES = 1000
SEED = 0
LEAST_SEEDS = 3
"""For an interval: that of two seeds is 13 times as wide as they are apart."""


def over_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation, least and largest value of each score over the seeds.

    One row per arm, layer, kind of dictionary and score; the deviation is missing for one seed.
    `low` and `high` are `seed_margin` below and above the mean. `excess` is the mean of what
    exceeds the permuted-leaf null.
    """
    table = _long(metrics)
    table["excess"] = table["value"] - table["null"]
    rows = table.groupby([*ARM, "layer", *KIND, "score"], dropna=False, sort=False)
    found = rows["value"].agg(n_seeds="count", mean="mean", sd="std", min="min", max="max")
    margin = seed_margin(found["sd"], found["n_seeds"])
    found = found.assign(low=found["mean"] - margin, high=found["mean"] + margin)
    return found.assign(excess=rows["excess"].mean()).reset_index()


def seed_margin(sd: np.ndarray, n_seeds: np.ndarray) -> np.ndarray:
    """Half of the 95% interval of the mean that all seeds would have, by Student's t.

    t(.975; n − 1) sd / √n, which holds that mean in 95% of the studies if scores are normal over
    the seeds. Of the seeds alone: backbone, images and permutations stay the same.

    Parameters
    ----------
    sd, n_seeds
        Standard deviation (n − 1 in the divisor) over the seeds, and n.

    Returns
    -------
    float64, missing for fewer than `LEAST_SEEDS`.

    Examples
    --------
    Of 1, 2 and 6 the deviation is √7: 4.303 · √7 / √3.

    >>> round(float(seed_margin(np.sqrt(7), np.array(3))), 2)
    6.57
    """
    n = np.maximum(n_seeds, LEAST_SEEDS)
    return np.where(n_seeds >= LEAST_SEEDS, stdtrit(n - 1, 0.975) * sd / np.sqrt(n), np.nan)


def over_start(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return what training adds to each score: the dictionary's minus that of its own start.

    Pairs are of the same arm, layer, width, sparsity and seed. One row per arm, layer, kind of
    dictionary and score (and FVE): mean, least and largest gain, `seed_margin` below and above the
    mean, and the mean gain of what exceeds the permuted-leaf null.
    """
    table = pd.concat([_long(metrics), _long(metrics, ["fve"])], ignore_index=True)
    pair = [*ARM, "layer", "width", "sparsity", "seed", "score"]
    # What of the sweep has a start, and is no start.
    starts = table.loc[table["variant"] == "start", [*pair, "value", "null"]]
    pairs = table[table["variant"].isin(TRAINED)].merge(starts, on=pair, suffixes=("", "_start"))
    pairs = pairs.dropna(subset=["value", "value_start"])
    pairs["gain"] = pairs["value"] - pairs["value_start"]
    pairs["gain_over_null"] = pairs["gain"] - (pairs["null"] - pairs["null_start"])
    rows = pairs.groupby([*ARM, "layer", *KIND, "score"], dropna=False, sort=False)
    found = rows["gain"].agg(n_seeds="count", gain="mean", sd="std", min="min", max="max")
    margin = seed_margin(found.pop("sd"), found["n_seeds"])
    found = found.assign(low=found["gain"] - margin, high=found["gain"] + margin)
    return found.assign(gain_over_null=rows["gain_over_null"].mean()).reset_index()


def across_layers(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the table without the widths of baselines that have none to choose.

    Raw neurons and principal components are as many as a layer is wide, and yet of one kind at all
    layers. Only what has a width in the sweep has a seed; imported dictionaries have one of theirs.
    """
    chosen = metrics["seed"].notna()
    if "library" in metrics:
        chosen |= metrics["library"].notna()
    return metrics.assign(width=metrics["width"].where(chosen))


def by_library(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a library for the variant of its dictionaries.

    Each is of one layer, under a name of its own; those of a library may be one kind at all layers.
    """
    if "library" not in metrics:
        return metrics
    return metrics.assign(variant=metrics["library"].fillna(metrics["variant"]))


def over_depth(metrics: pd.DataFrame, level: float, draws: int) -> pd.DataFrame:
    """Return each score's trend over the layers, one row per arm, kind of dictionary and score.

    The trend is Spearman's rank correlation of layer and score (mean over seeds). Its interval
    comes from `RESAMPLES` draws that take a seed at random at every layer and add normal noise of
    the score's own standard error; without one there is no interval. A layer exceeds the
    permuted-leaf null if every seed is on the hierarchical side of the null's mean and the largest
    of their one-sided p-values, adjusted over the layers by Benjamini and Hochberg, is at most
    `level`.

    Parameters
    ----------
    metrics
        As `across_layers` returns them.
    draws
        Of the null: a one-sided p-value is at least 1 / (1 + draws).
    """
    random = np.random.default_rng(SEED)
    rows = []
    for key, part in _long(metrics).groupby([*ARM, *KIND, "score"], dropna=False, sort=False):
        part = part.dropna(subset=["value"])
        layers = np.sort(part["layer"].unique())
        by_layer = [part[part["layer"] == layer] for layer in layers]
        row = dict(zip([*ARM, *KIND, "score"], key, strict=True))
        row["n_layers"], row["n_seeds"] = len(layers), part["seed"].fillna(0).nunique()
        row |= _correlation(layers, by_layer, random)
        row |= _first_beyond(str(row["score"]), layers, by_layer, level)
        rows.append(row | {"n_layers_needed": _needed(len(layers), level, draws)})
    return pd.DataFrame(rows)


def between_kinds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Compare kinds of dictionaries at the same layer, raw and matched on L0 and on FVE.

    Compared are variants and widths, each along its sparsities, and sparsities of a variant along
    their widths. Raw: difference of the means. Matched: both are curves of the score over L0 (in
    octaves) or FVE; the difference is averaged over the points of either curve that lie within the
    other's range, where the other is interpolated. Differences are first minus second; mean, least
    and largest are over the seeds that both have.
    """
    rows: list[dict[str, object]] = []
    for key, layer in metrics.groupby([*ARM, "layer"], dropna=False, sort=False):
        arm = dict(zip([*ARM, "layer"], key, strict=True))
        for fixed in (["variant", "width"], ["variant", "sparsity"]):
            kinds = [
                (dict(zip(fixed, name, strict=True)), part)
                for name, part in layer.groupby(fixed, dropna=fixed[1] == "sparsity", sort=False)
            ]
            for (first, a), (second, b) in combinations(kinds, 2):
                if fixed[1] == "sparsity" and first["variant"] != second["variant"]:
                    continue
                names = {"first": _name(first), "second": _name(second)}
                rows += [arm | names | row for row in _differences(a, b)]
    columns = [*ARM, "layer", "first", "second", "score", "basis", "n_seeds"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "min", "max"])


def _long(metrics: pd.DataFrame, scores: Sequence[str] = DIRECTED) -> pd.DataFrame:
    """One row per dictionary and score: value, standard error, null mean and p-value."""
    parts = []
    for score in scores:
        part = metrics[[*ARM, "layer", *KIND, "seed"]].copy()
        part["score"], part["value"] = score, metrics[score].astype(float)
        missing = pd.Series(np.nan, metrics.index)
        half = metrics.get(f"{score}_high", missing) - part["value"]
        part["error"] = half.astype(float) / NORMAL_95
        for column, suffix in (("null", "_null_permuted"), ("p_value", "_null_permuted_p")):
            part[column] = metrics.get(f"{score}{suffix}", missing)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _correlation(
    layers: np.ndarray, by_layer: Sequence[pd.DataFrame], random: np.random.Generator
) -> dict[str, float]:
    if len(layers) < 3:
        return dict.fromkeys(("correlation", "correlation_low", "correlation_high"), np.nan)
    draws = np.empty((RESAMPLES, len(layers)))
    for column, part in enumerate(by_layer):
        chosen = random.integers(len(part), size=RESAMPLES)
        noise = random.standard_normal(RESAMPLES) * part["error"].to_numpy()[chosen]
        draws[:, column] = part["value"].to_numpy()[chosen] + noise
    mean = np.array([[part["value"].mean() for part in by_layer]])
    low, high = np.nan, np.nan
    if not np.isnan(draws).any():
        low, high = np.percentile(spearman(layers, draws), INTERVAL)
    observed = float(spearman(layers, mean)[0])
    return {"correlation": observed, "correlation_low": low, "correlation_high": high}


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rank correlation of x (n,) with each row of y (rows, n), mean ranks for ties.

    0 if x or the row is constant.
    """
    a, b = _ranks(x[None]), _ranks(y)
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), scale, out=np.zeros(len(y)), where=scale > 0)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks within each row, centred."""
    above = values[:, :, None] > values[:, None, :]
    below = values[:, :, None] < values[:, None, :]
    return (above.sum(2) - below.sum(2)) / 2


def _first_beyond(
    score: str, layers: np.ndarray, by_layer: Sequence[pd.DataFrame], level: float
) -> dict[str, float]:
    sign = SCORES[score].hierarchical
    p_values = []
    for part in by_layer:
        known = part["p_value"].notna().all()
        beyond = (sign * (part["value"] - part["null"]) > 0).all()
        # The table's is two-sided: twice the smaller tail, which is that of the side it is on.
        one_sided = part["p_value"].max() / 2
        p_values.append(one_sided if known and beyond else 1.0 if known else np.nan)
    adjusted = benjamini_hochberg(np.array(p_values, np.float64))
    found = np.flatnonzero(adjusted <= level)
    return {
        "level": level,
        "first_layer": float(layers[found[0]]) if len(found) else np.nan,
        "n_layers_beyond": len(found),
    }


def _needed(n_layers: int, level: float, draws: int) -> int:
    """Return how many layers must exceed a null together for any to count: p m / k ≤ level."""
    # Rounded: 6 of 6 layers at a level of 1 / (1 + draws) need exactly 6.
    return max(1, math.ceil(round(n_layers / (1 + draws) / level, 9)))


def _differences(a: pd.DataFrame, b: pd.DataFrame) -> Iterator[dict[str, object]]:
    seeds = sorted(set(a["seed"].dropna()) & set(b["seed"].dropna()))
    pairs = [(a[a["seed"] == seed], b[b["seed"] == seed]) for seed in seeds] or [(a, b)]
    tables = [tuple(_columns(part) for part in pair) for pair in pairs]
    for score in DIRECTED:
        for basis in ("raw", "l0", "fve"):
            found = [_difference(x, y, score, basis) for x, y in tables]
            found = [value for value in found if not np.isnan(value)]
            if found:
                yield {
                    "score": score,
                    "basis": basis,
                    "n_seeds": len(found),
                    "difference": float(np.mean(found)),
                    "min": min(found),
                    "max": max(found),
                }


def _columns(part: pd.DataFrame) -> dict[str, np.ndarray]:
    columns = {score: part[score].to_numpy(float) for score in DIRECTED}
    return columns | {"l0": np.log2(part["l0"].to_numpy(float)), "fve": part["fve"].to_numpy(float)}


def _difference(
    a: dict[str, np.ndarray], b: dict[str, np.ndarray], score: str, basis: str
) -> float:
    has_a, has_b = ~np.isnan(a[score]), ~np.isnan(b[score])
    if not has_a.any() or not has_b.any():
        return np.nan
    ya, yb = a[score][has_a], b[score][has_b]
    if basis == "raw":
        return float(ya.mean() - yb.mean())
    xa, xb = a[basis][has_a], b[basis][has_b]
    order_a, order_b = np.argsort(xa, kind="stable"), np.argsort(xb, kind="stable")
    xa, ya, xb, yb = xa[order_a], ya[order_a], xb[order_b], yb[order_b]
    at_a, at_b = (xa >= xb[0]) & (xa <= xb[-1]), (xb >= xa[0]) & (xb <= xa[-1])
    gaps = [*(ya[at_a] - np.interp(xa[at_a], xb, yb)), *(np.interp(xb[at_b], xa, ya) - yb[at_b])]
    return float(np.mean(gaps)) if gaps else np.nan


def _name(kind: dict[str, object]) -> str:
    return " ".join(
        str(value) if name == "variant" else f"{name} {value:g}"
        for name, value in kind.items()
        if not pd.isna(value)  # type: ignore[call-overload]
    )
