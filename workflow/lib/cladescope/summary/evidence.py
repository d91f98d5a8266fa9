"""A study's answers as one page of Markdown tables: what to read first, and what to quote.

`docs/evidence.md` says which claim needs which of the numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from cladescope.causes.kinds import DIRECTIONS, PERMUTED, SHRUNK
from cladescope.names import ABLATION, BASELINES, LEAF, OTHER, WITHIN, labels
from cladescope.scores.by_size import BY_SIZE, SIZES
from cladescope.scores.contrasts import OVER_LARGER, OVER_LEAF, SHARED
from cladescope.summary.cells import between, number, span, table_of, with_null
from cladescope.summary.segmentation import segmentation_section
from cladescope.summary.trends import ARM, KIND, across_layers
from cladescope.summary.uses import uses_section
from cladescope.sweep import SPARSITY, SUPERVISED

SCORES = (
    "held_out",
    "held_out_large",
    "held_out_matched",
    "own_best_recovery",
    "node_recovery",
    "node_recovery_above_null",
    "coherent_share",
    "coalition_f1_5",
    "fve",
    "l0",
)
"""Of each kind of dictionary at the deepest layer."""
GAINS = ("held_out", "held_out_matched", "own_best_recovery", "node_recovery", "fve")
HEADLINE = ("held_out", "own_best_recovery", "node_recovery", "fve")
ABLATED = ("selectivity", "projected")
"""Of ablation, in the headline too."""
SHOWN_NULLS = (PERMUTED, DIRECTIONS, SHRUNK)
PAIR_CELLS = {
    "of the node's images fire them (share)": (SHARED, SHARED, "fires"),
    "answer to what the classes share (TAPA)": (SHARED, SHARED, "answer"),
    "to what one class has of its own": (SHARED, LEAF, "answer"),
    "to the shared part rather than the own": (SHARED, OVER_LEAF, "answer"),
    "the same where the own part is the larger change": (SHARED, OVER_LARGER, "answer"),
    "nodes that share nothing: to a part of others": ("unshared", OTHER, "answer"),
    "changes from class to class within the node": (SHARED, WITHIN, "flips"),
}
"""Of the table `pairs.csv`: nodes, contrast and measure."""
NAMES = {"topk": "TopK SAE", "tree": "tree SAE", **BASELINES}


@dataclass(frozen=True)
class Evidence:
    """The tables of a study that the page is made of."""

    metrics: pd.DataFrame
    sizes: pd.DataFrame
    probes: pd.DataFrame
    """`probe_nodes.csv`."""
    gains: pd.DataFrame
    pairs: pd.DataFrame | None = None
    """Where there are pairs; the others where something is ablated, uses are measured, and latents
    are held against masks."""
    ablation: pd.DataFrame | None = None
    uses: pd.DataFrame | None = None
    segmentation: pd.DataFrame | None = None


def evidence_page(tables: Evidence) -> str:
    """Return the page: the backbone's own hierarchy, the dictionaries', what the model uses."""
    probes, ablation = tables.probes, tables.ablation
    short = headline(tables.metrics, probes, ablation)
    metrics = tables.metrics.assign(kind=_kinds(across_layers(tables.metrics)))
    gains = tables.gains.assign(kind=_kinds(tables.gains))
    parts = [
        "# What this study shows\n\nA number is a mean over dictionaries that differ in the seed "
        "(below, “In short”: also in width and sparsity). After “±” half of the 95% interval over "
        "three seeds or more (Student's t; backbone and images stay the same), else in brackets "
        "the least and the largest, where these differ. After “null”: the mean over permutations "
        "of the leaves. What each score is, and what would get the same number without a "
        "hierarchy: `docs/scores.md` and `docs/evidence.md` of Cladescope.",
        short,
    ]
    parts += ["## Does the backbone hold the hierarchy?", _probes(metrics, probes)]
    for arm, rows in metrics.groupby(ARM, sort=False):
        experiment, token = str(arm[0]), str(arm[-1])
        layer = rows["layer"].max()
        deepest = rows[rows["layer"] == layer]
        parts += [
            f"## Does a dictionary find it? {experiment}, {token}",
            f"Layer {layer}.",
            _by_kind(deepest, SCORES, labels(*SCORES)),
            f"By the classes under a node, layer {layer}:",
            _by_size(deepest, tables.sizes),
        ]
        if rows["layer"].nunique() > 1:
            parts += [f"By layer, {labels('held_out')['held_out']}:", _by_layer(rows, "held_out")]
        added = gains[gains["experiment"].eq(experiment) & gains["token"].eq(token)]
        if len(added):
            parts += [f"What training adds to its own start, layer {layer}:", _gains(added, layer)]
    if tables.pairs is not None:
        parts += _pairs(tables.pairs)
    if ablation is not None:
        parts += _ablation(ablation.assign(kind=_kinds(ablation)))
    if tables.uses is not None:
        parts += uses_section(tables.uses.assign(kind=_kinds(tables.uses)))
    if tables.segmentation is not None:
        kinds = _kinds(tables.segmentation)
        parts += segmentation_section(tables.segmentation.assign(kind_of_dictionary=kinds))
    return "\n\n".join(parts) + "\n"


def headline(
    metrics: pd.DataFrame, probes: pd.DataFrame, ablation: pd.DataFrame | None = None
) -> str:
    """Return the first section: every variant at the deepest layer of the first experiment.

    Of all widths, sparsities and seeds; the same place of backbones with random weights below.
    """
    first = metrics.iloc[0]
    rows = metrics[
        (metrics["experiment"] == first["experiment"]) & (metrics["token"] == first["token"])
    ]
    layer = rows["layer"].max()
    here = ["token", "layer", "dataset"]
    place = (metrics[here] == rows.loc[rows["layer"] == layer, here].iloc[0]).all(axis=1)
    kept = metrics[
        place & (metrics["experiment"].eq(first["experiment"]) | metrics["weights"].eq("random"))
    ]
    ceiling = probes[probes["experiment"].eq(first["experiment"]) & probes["layer"].eq(layer)]
    ceiling = ceiling[ceiling["token"] == first["token"]]
    means = ceiling[["probe_held_out", "probe_held_out_null_permuted"]].mean()
    words = ["dictionaries", *labels(*HEADLINE).values()]
    if ablation is not None:
        ablation = ablation[ablation["size"].eq("all")]
        ablation = ablation[ablation["n_latents"] == ablation["n_latents"].min()]
        words += [ABLATION[score] for score in ABLATED]
    held_out = f"{number(means.iloc[0])} null {number(means.iloc[1])}"
    found = [["linear probe", "", held_out, *[""] * (len(words) - 2)]]
    for (weights, variant), part in kept.groupby(["weights", "variant"], sort=False):
        name = NAMES.get(str(variant), str(variant))
        name += ", random backbone" if weights == "random" else ""
        cells = [f"{len(part)}", *(with_null(part, score) for score in HEADLINE)]
        if ablation is not None:
            mine = ablation[ablation["dictionary"].isin(part["dictionary"])]
            cells += [with_null(mine, score) for score in ABLATED]
        found.append([name, *cells])
    table = table_of(["", *words], found)
    return f"## In short\n\n{first['experiment']}, {first['token']}, layer {layer}:\n\n{table}"


def _kinds(table: pd.DataFrame) -> pd.Series:
    """Name each row's kind of dictionary."""
    names = [_kind(*kind) for kind in table[KIND].itertuples(index=False)]
    return pd.Series(names, table.index, dtype=object)


def _kind(variant: str, width: float, sparsity: float) -> str:
    parts = [variant]
    if not pd.isna(width):
        parts.append(f"w{width:g}")
    if not pd.isna(sparsity):
        parts.append(f"{SPARSITY.get(variant, 'k')}{sparsity:g}")
    if variant in SUPERVISED:
        parts.append("(supervised)")
    return " ".join(parts)


def _probes(metrics: pd.DataFrame, probes: pd.DataFrame) -> str:
    """A linear probe of each layer, on classes that it has not seen."""
    place = ["experiment", "token", "layer"]
    columns = ["probe_held_out", "probe_held_out_null_permuted"]
    means = probes.groupby(place, sort=False)[columns].mean()
    weights = metrics.drop_duplicates(place).set_index(place)["weights"]
    rows = [
        [*map(str, key), "random" if weights[key] == "random" else "trained", *map(number, row)]
        for key, row in zip(means.index, means.to_numpy(), strict=True)
    ]
    header = ["experiment", "token", "layer", "weights", "probe on held-out classes", "null"]
    return table_of(header, rows)


def _by_kind(rows: pd.DataFrame, scores: Sequence[str], words: Mapping[str, str]) -> str:
    found = [
        [str(kind), span(part, "n_scored", 0), *(with_null(part, score) for score in scores)]
        for kind, part in rows.groupby("kind", sort=False)
    ]
    return table_of(["dictionary", "scored latents", *words.values()], found)


def _by_size(rows: pd.DataFrame, sizes: pd.DataFrame) -> str:
    table = rows[["dictionary", "kind", *KIND, "seed"]].merge(sizes, on="dictionary")
    shown = [size for size in SIZES if (table.loc[table["size"] == size, "n_nodes"] > 0).any()]
    count = {size: table.loc[table["size"] == size, "n_nodes"].iloc[0] for size in shown}
    found = []
    for kind, part in table.groupby("kind", sort=False):
        for score in BY_SIZE:
            cells = [with_null(part[part["size"] == size], score) for size in shown]
            found.append([str(kind), labels(score)[score], *cells])
    header = ["dictionary", "score", *(f"{size} ({count[size]} nodes)" for size in shown)]
    return table_of(header, found)


def _pairs(pairs: pd.DataFrame) -> Iterator[str]:
    """What latents do on pairs of images that differ in one thing, at each arm's deepest layer."""
    pairs = pairs.assign(kind=_kinds(across_layers(pairs)))
    for arm, rows in pairs.groupby(ARM, sort=False):
        layer = rows["layer"].max()
        yield f"## Does a latent follow the concept? {arm[0]}, {arm[-1]}"
        yield (
            f"Layer {layer}. Of the latent that matches each node best: the change of “it fires” "
            "where something is added to an image. After “null”: of random latents of like rate."
        )
        found = []
        for kind, part in rows[(rows["layer"] == layer) & rows["latents"].eq("best")].groupby(
            "kind", sort=False
        ):
            cells = [str(kind)]
            for nodes, change, measure in PAIR_CELLS.values():
                here = part[part["nodes"].eq(nodes) & part["change"].eq(change)]
                cells.append(with_null(here, measure, "random"))
            found.append(cells)
        yield table_of(["dictionary", *PAIR_CELLS], found)


def _by_layer(rows: pd.DataFrame, score: str) -> str:
    layers = sorted(rows["layer"].unique())
    found = [
        [str(kind), *(with_null(part[part["layer"] == layer], score) for layer in layers)]
        for kind, part in rows.groupby("kind", sort=False)
    ]
    return table_of(["dictionary", *(f"layer {layer}" for layer in layers)], found)


def _ablation(table: pd.DataFrame) -> list[str]:
    """What the model loses without a node's latents, at each place that is ablated."""
    parts = [
        "## Does the model use it?",
        "What P(node) loses on the node's images without its latents, less what other nodes lose "
        "on theirs; means over nodes. “Permuted”: latents chosen with the leaves permuted. "
        "“Directions”: as much taken away on the same images in other latents' directions. "
        "“Shortened”: as much of the token's length.",
    ]
    header = ["dictionary", "latents", "selectivity", "permuted", "directions", "shortened"]
    header += [ABLATION["projected"], "permuted", "length taken away", "evenness", "within", "TPP"]
    place = ["experiment", "token", "layer"]
    for (experiment, token, layer), rows in table[table["size"] == "all"].groupby(
        place, sort=False
    ):
        columns = ["selectivity", *(f"selectivity_null_{null}" for null in SHOWN_NULLS)]
        columns += ["projected", "projected_null_permuted", "removed", "evenness", "within", "tpp"]
        found = [
            [str(kind), f"{n_latents}", *(span(part, name, 3) for name in columns)]
            for (kind, n_latents), part in rows.groupby(["kind", "n_latents"], sort=False)
        ]
        readout = f"read out by the {' or '.join(rows['readout'].unique())}"
        right = number(rows["accuracy"].mean())
        parts += [
            f"{experiment}, {token}, layer {layer}, {readout} (right: {right}):",
            table_of(header, found),
        ]
    return parts


def _gains(gains: pd.DataFrame, layer: int) -> str:
    table = gains[gains["layer"] == layer].set_index(["kind", "score"])
    found = []
    for kind in table.index.unique("kind"):
        cells = []
        for score in GAINS:
            row = table.loc[(kind, score)] if (kind, score) in table.index else None
            cells.append("" if row is None else _gain(row))
        found.append([kind, *cells])
    return table_of(["dictionary", *labels(*GAINS).values()], found)


def _gain(row: pd.Series) -> str:
    if pd.isna(row["low"]):
        return between(row["gain"], row["min"], row["max"])
    return f"{number(row['gain'])} ± {number(row['gain'] - row['low'])}"
