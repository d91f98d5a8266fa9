"""Each score by layer, with its controls."""

import pandas as pd
from matplotlib.figure import Figure

from cladescope.summary.figures.base import (
    NULLS,
    OTHERS,
    PERMUTED,
    PROBE,
    RANDOM,
    SHOWN,
    SHUFFLED,
    TRAINED,
    lines_by_layer,
    series_of,
    set_style,
    titles,
)


def plot_scores(metrics: pd.DataFrame, probes: pd.DataFrame) -> Figure:
    """Draw each score by layer, with its nulls, the baselines and the random backbone.

    A line is the mean over the widths and sparsities of its arm; its band spans the seeds (of the
    dictionaries and, where there are several, of the backbones). Every dataset, model and token
    kind has panels of its own.

    Parameters
    ----------
    metrics, probes
        The tables `metrics.csv` and `probe_nodes.csv`; a probe stands beside held-out classes.
    """
    set_style()
    table = scores_by_layer(pd.concat([metrics, _as_dictionaries(probes, metrics)]))
    return lines_by_layer(table, "score", metrics["layer"], below=-0.11, sharey=False).figure


def scores_by_layer(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return columns layer, experiment, seed, series, score, value.

    `score` names the dataset, the model and the token, too, where there are several.
    """
    several = [name for name in ("dataset", "model", "token") if metrics[name].nunique() > 1]
    if several:
        parts = []
        for values, rows in metrics.groupby(several, sort=False):
            table = scores_by_layer(rows)
            parts.append(table.assign(score=", ".join(map(str, values)) + "\n" + table["score"]))
        return pd.concat(parts)
    topk, probe = metrics["variant"] == "topk", metrics["variant"] == "probe"
    random = metrics["weights"] == "random"
    parts = [
        _melt(metrics[topk & ~random], TRAINED, ""),
        _melt(metrics[topk & ~random], PERMUTED, "_null_permuted"),
        _melt(metrics[topk & ~random], SHUFFLED, "_null_shuffled"),
        _melt(metrics[topk & random], RANDOM, ""),
        _melt(metrics[probe & ~random], PROBE, ""),
    ]
    own = series_of(metrics).mask(random)
    for series in OTHERS:
        parts.append(_melt(metrics[own == series], series, ""))
        if series in NULLS:
            parts.append(_melt(metrics[own == series], NULLS[series], "_null_permuted"))
    table = pd.concat(parts).dropna(subset=["value"])
    table["seed"] = table["seed"].fillna(0)
    keys = ["score", "series", "layer", "experiment", "seed"]
    return table.groupby(keys, as_index=False, sort=False)[["value"]].mean()


def _as_dictionaries(probes: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per layer, as `metrics` has them, with the mean of the probes' nodes."""
    place = ["experiment", "token", "layer"]
    means = probes.groupby(place)["probe_held_out"].mean().rename("held_out").reset_index()
    arms = metrics[[*place, "dataset", "model", "weights"]].drop_duplicates()
    return arms.merge(means, on=place).assign(variant="probe")


def _melt(rows: pd.DataFrame, series: str, suffix: str) -> pd.DataFrame:
    columns = {f"{score}{suffix}": label for score, label in titles(*SHOWN).items()}
    # Not every score has every null.
    columns = {name: label for name, label in columns.items() if name in rows}
    named = rows[["layer", "experiment", "seed", *columns]].rename(columns=columns)
    melted = named.melt(id_vars=["layer", "experiment", "seed"], var_name="score")
    return melted.assign(series=series)
