"""Several networks in one table: by relative depth, each beside its architecture at random weights.

A layer's relative depth is its number divided by the number of layers of its network: 1 is the last
block, stage or module. Layers of different networks are of different kinds, so that equal depths
say where a network stands in its own course, not that it has computed equally much.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cladescope.names import labels
from cladescope.summary.cells import between, number, table_of
from cladescope.summary.trends import ARM, KIND, across_layers

PLACE = ["experiment", "token", "layer"]
PROBE = "linear probe"
MEASURES = ("held_out", "own_best_recovery", "node_recovery", "fve")
"""Of `docs/evidence.md`; the probe has the first alone."""
MAJORITY = 0.5
"""Share of a height's nodes that must exceed their null."""


def architecture_of(model: str) -> str:
    """Return timm's name without the tag that says how the weights were trained.

    >>> architecture_of("vit_base_patch16_224.mae")
    'vit_base_patch16_224'
    """
    return model.partition(".")[0]


def by_depth(
    metrics: pd.DataFrame, probes: pd.DataFrame, n_layers: Mapping[str, int]
) -> pd.DataFrame:
    """Return each measure at each relative depth of each network, beside its random twins.

    Parameters
    ----------
    metrics, probes
        The tables `metrics.csv` and `probe_nodes.csv`.
    n_layers
        Number of layers of each experiment's backbone.

    Returns
    -------
    One row per arm, layer, kind of dictionary (`variant` is `PROBE` for the probe) and measure:
    `depth` in (0, 1], `n_seeds`, `value` (mean over the dictionary seeds), `min`, `max`, `null`
    (leaves permuted), and `twin`, the mean value of the experiments that have the architecture,
    dataset, token and layer with random weights (missing where there is none, and for these
    experiments themselves).
    """
    found = pd.concat([_of_probes(metrics, probes), _of_dictionaries(metrics)], ignore_index=True)
    found.insert(
        len(ARM) + 1, "depth", found["layer"] / found["experiment"].map(dict(n_layers)).astype(int)
    )
    found["architecture"] = found["model"].map(architecture_of)
    twin = ["architecture", "dataset", "token", "layer", *KIND, "measure"]
    random = found["weights"] == "random"
    twins = found[random].groupby(twin, dropna=False)["value"].mean().rename("twin").reset_index()
    found = found.merge(twins, on=twin, how="left").drop(columns="architecture")
    found.loc[random.to_numpy(), "twin"] = np.nan
    return found


def _of_dictionaries(metrics: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for measure in MEASURES:
        part = across_layers(metrics)[[*ARM, "layer", *KIND]].copy()
        part["measure"], part["value"] = measure, metrics[measure].astype(float)
        part["null"] = metrics.get(f"{measure}_null_permuted", pd.Series(np.nan, metrics.index))
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    rows = table.groupby([*ARM, "layer", *KIND, "measure"], dropna=False, sort=False)
    found = rows["value"].agg(n_seeds="count", value="mean", min="min", max="max")
    return found.assign(null=rows["null"].mean()).reset_index()


def _of_probes(metrics: pd.DataFrame, probes: pd.DataFrame) -> pd.DataFrame:
    means = probes.groupby(PLACE, sort=False).agg(
        value=("probe_held_out", "mean"), null=("probe_held_out_null_permuted", "mean")
    )
    arms = metrics[[*ARM, "layer"]].drop_duplicates()
    found = arms.merge(means.reset_index(), on=PLACE)
    return found.assign(
        variant=PROBE,
        width=np.nan,
        sparsity=np.nan,
        measure=MEASURES[0],
        n_seeds=1,
        min=found["value"],
        max=found["value"],
    )


def first_depths(
    nodes: pd.DataFrame, metrics: pd.DataFrame, n_layers: Mapping[str, int]
) -> pd.DataFrame:
    """Say from which relative depth on the nodes of each height exceed their null.

    A node exceeds it where its `best_mcc` is above `best_mcc_null_permuted_high`, which chance
    alone does for 2.5% of the nodes. Nodes of a height do at a layer if more than `MAJORITY` of
    them do there, with every dictionary of the kind.

    Parameters
    ----------
    nodes, metrics
        The tables `nodes.csv.gz` and `metrics.csv`.

    Returns
    -------
    One row per arm, kind of dictionary and contracted height: `n_nodes`, `first_depth` (missing if
    no layer does), `least_depth` (of the layers that were read; a first depth there may be earlier
    in truth), and `share`, the mean share of nodes above their null at the deepest layer.
    """
    kinds = across_layers(metrics)[["dictionary", *ARM, "layer", *KIND]]
    beyond = nodes[["dictionary", "wnid", "height_contracted"]].assign(
        beyond=nodes["best_mcc"] > nodes["best_mcc_null_permuted_high"]
    )
    table = beyond.merge(kinds, on="dictionary")
    rows = []
    by = [*ARM, *KIND, "height_contracted"]
    for key, part in table.groupby(by, dropna=False, sort=False):
        shares = part.groupby(["layer", "dictionary"])["beyond"].mean()
        least = shares.groupby("layer").min()
        first = least.index[least > MAJORITY]
        depth = 1 / n_layers[str(part["experiment"].iloc[0])]
        rows.append(
            dict(zip(by, key, strict=True))
            | {
                "n_nodes": part["wnid"].nunique(),
                "first_depth": first.min() * depth if len(first) else np.nan,
                "least_depth": least.index.min() * depth,
                "share": shares.loc[least.index.max()].mean(),
            }
        )
    return pd.DataFrame(rows)


def architectures_page(depths: pd.DataFrame, firsts: pd.DataFrame) -> str:
    """Return both tables as Markdown: the deepest layers, and first depths by height."""
    shown = {PROBE: "linear probe", **{name: name for name in depths["variant"].unique()}}
    trained = depths[depths["weights"] != "random"]
    parts = [
        "Held-out MCC at the deepest layer that was read, in brackets the least and the largest "
        "over the seeds of the dictionaries where they differ; after “null” with the leaves "
        "permuted, after “random” the same architecture with random weights."
    ]
    parts.append(_deepest(trained, MEASURES[0], shown))
    for measure in MEASURES[1:3]:
        parts += [f"The same of {labels(measure)[measure]}:", _deepest(trained, measure, shown)]
    parts += [f"By relative depth, {labels(MEASURES[0])[MEASURES[0]]}:", _course(depths, shown)]
    parts += [
        "The relative depth from which on nodes exceed their null, by their contracted height "
        "(1: the parents of classes): more than half of them are matched better than in 97.5% of "
        "the permutations, with every seed. “≤”: at the first layer that was read; “–”: at none.",
        _firsts(firsts),
    ]
    return "\n\n".join(parts) + "\n"


def _deepest(trained: pd.DataFrame, measure: str, shown: Mapping[str, str]) -> str:
    rows = trained[trained["measure"] == measure]
    rows = rows[rows["layer"] == rows.groupby("experiment")["layer"].transform("max")]
    kinds = [kind for kind in shown if kind in set(rows["variant"])]
    found = []
    for (experiment, token), part in rows.groupby(["experiment", "token"], sort=False):
        cells = [str(experiment), str(token), number(part["depth"].iloc[0])]
        cells += [_cell(part[part["variant"] == kind]) for kind in kinds]
        found.append(cells)
    return table_of(["network", "token", "depth", *(shown[kind] for kind in kinds)], found)


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty or rows["value"].isna().all():
        return ""
    text = between(rows["value"].mean(), rows["min"].min(), rows["max"].max())
    for word, column in (("null", "null"), ("random", "twin")):
        if rows[column].notna().any():
            text += f" {word} {number(rows[column].mean())}"
    return text


def _course(depths: pd.DataFrame, shown: Mapping[str, str]) -> str:
    rows = depths[depths["measure"] == MEASURES[0]]
    at = sorted(rows["depth"].unique())
    found = []
    for (experiment, token, variant), part in rows.groupby(
        ["experiment", "token", "variant"], sort=False
    ):
        by = part.groupby("depth")["value"].mean()
        cells = [number(by[depth]) if depth in by else "" for depth in at]
        found.append([str(experiment), str(token), shown[str(variant)], *cells])
    return table_of(["network", "token", "read by", *(number(depth) for depth in at)], found)


def _firsts(firsts: pd.DataFrame) -> str:
    counts = firsts.groupby("height_contracted")["n_nodes"].max()
    found = []
    for (experiment, token, variant), part in firsts.groupby(
        ["experiment", "token", "variant"], sort=False
    ):
        cells = [_first(part[part["height_contracted"] == height]) for height in counts.index]
        found.append([str(experiment), str(token), str(variant), *cells])
    heights = [f"height {height} (of {count})" for height, count in counts.items()]
    return table_of(["network", "token", "read by", *heights], found)


def _first(rows: pd.DataFrame) -> str:
    """Write the earliest first depth of some kinds of dictionaries."""
    if rows.empty:
        return ""
    first = rows["first_depth"].min()
    if np.isnan(first):
        return "–"
    return ("≤ " if first == rows["least_depth"].min() else "") + number(first)
