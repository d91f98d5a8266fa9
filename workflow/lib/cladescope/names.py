"""The scores of a dictionary, each with what stands beside it and which way it points.

Tables, trends, figures and the atlas take names, words and properties from here. docs/scores.md
says what each score means; a test holds its names, units and suffixes equal to these.
"""

from dataclasses import dataclass
from typing import NamedTuple

PERMUTED, SHUFFLED, RANDOM = "permuted", "shuffled", "random"
"""Nulls: leaves change places in the tree, labels are shuffled, images are drawn at random."""
SUFFIXES = {
    PERMUTED: ("", "_low", "_high", "_p"),
    SHUFFLED: ("",),
    RANDOM: ("",),
}
"""Columns of a score's null, each behind `{score}_null_{null}`."""
INTERVAL = ("_low", "_high")
NORMAL_95 = 1.96
"""Standard deviations from the mean to an end of a 95% interval, of a normal distribution."""
MORE, LESS = 1, -1
SETTINGS = ("top_n", "tau", "rho", "mcc_threshold", "null_draws", "p_draws", "fdr")
"""Options of the scores that the atlas names."""

_ALL = (PERMUTED, SHUFFLED, RANDOM)
# Permuting leaves cannot change how one class is found.
_OF_CLASSES = (SHUFFLED, RANDOM)
# What needs significant latents or relations has no shuffled null.
_OF_HIERARCHY = (PERMUTED,)


@dataclass(frozen=True)
class Score:
    """One number for each dictionary, a column of `metrics.csv`."""

    name: str
    hierarchical: int = 0
    """`MORE` or `LESS` of it says that a dictionary is more hierarchical; 0: neither does."""
    nulls: tuple[str, ...] = ()
    """What it is compared with."""
    column: str | None = None
    """The column of `latents.parquet` that it is the mean of, over the scored latents."""
    sensitive: bool = False
    """Whether it is in the table over N, τ and ρ."""
    interval: bool = False
    """Whether it has a 95% interval: a test simulates that it covers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Its own column and all that stand beside it."""
        interval = [f"{self.name}{end}" for end in INTERVAL if self.interval]
        return (
            self.name,
            *interval,
            *(f"{self.name}_null_{null}{end}" for null in self.nulls for end in SUFFIXES[null]),
        )


def _mean(
    name: str,
    hierarchical: int,
    *,
    nulls: tuple[str, ...] = _ALL,
    column: str = "",
    sensitive: bool = False,
    interval: bool = False,
) -> Score:
    return Score(name, hierarchical, nulls, column or name, sensitive, interval)


COALITION_SIZES = (1, 2, 3, 5)
"""Numbers of latents that a coalition may have."""
COALITIONS = [f"coalition_f1_{size}" for size in COALITION_SIZES]
SCORES = {
    score.name: score
    for score in (
        Score("n_images"),
        Score("n_classes"),
        Score("n_internal_nodes"),
        Score("n_live"),
        Score("n_scored"),
        Score("n_rare"),
        Score("n_dead"),
        Score("n_hierarchical"),
        Score("n_relations"),
        Score("n_edges"),
        Score("significant_share"),
        Score("single_class_share"),
        _mean("lch_height", LESS),
        _mean("lch_height_contracted", LESS),
        _mean("lch_tau_height", LESS, sensitive=True),
        _mean("lch_tau_height_contracted", LESS, sensitive=True),
        _mean("lch_tau_share", MORE, sensitive=True),
        _mean("coverage", MORE),
        _mean("coverage_tau", MORE, sensitive=True),
        _mean("coverage_top", MORE, sensitive=True),
        _mean("pair_lch", LESS, interval=True),
        _mean("pair_lch_contracted", LESS, interval=True),
        _mean("monosemanticity", MORE, interval=True),
        _mean("coherent_share", MORE, column="coherent", sensitive=True, interval=True),
        _mean("purity", MORE, nulls=_OF_CLASSES),
        _mean("best_mcc", MORE),
        _mean("best_internal_mcc", MORE),
        Score("held_out", MORE, _OF_HIERARCHY),
        Score("held_out_large", MORE, _OF_HIERARCHY),
        Score("held_out_matched", MORE),
        Score("own_best_recovery", MORE, _OF_HIERARCHY),
        Score("node_recovery", MORE, _ALL, interval=True),
        Score("node_recovery_matched", MORE, _ALL, interval=True),
        Score("node_recovery_above_null", MORE),
        Score("leaf_recovery", MORE, _OF_CLASSES),
        *(Score(name, MORE) for name in COALITIONS),
        Score("ontological_coverage", MORE, _OF_HIERARCHY),
        Score("hierarchy_consistency", MORE, _OF_HIERARCHY),
        Score("parent_given_child", MORE, _OF_HIERARCHY),
        Score("parent_rate"),
        Score("sibling_overlap", LESS, _OF_HIERARCHY),
        Score("absorption", LESS, _OF_HIERARCHY),
        Score("soft_absorption", LESS, _OF_HIERARCHY),
        Score("soft_absorption_at_random"),
        Score("parent_misses", 0, _OF_HIERARCHY),
        Score("splitting", MORE, _OF_HIERARCHY),
    )
}
"""All of `scores.json`."""


class Words(NamedTuple):
    """What a score is called and measured in: apart from `SCORES`, as no number depends on it."""

    label: str
    unit: str
    """And the range."""


_SHARE, _EDGES, _MCC = "share, 0–1", "edges", "−1 to 1"
WORDS = {
    "n_images": Words("images", "images"),
    "n_classes": Words("classes", "classes"),
    "n_internal_nodes": Words("internal nodes", "nodes"),
    "n_live": Words("live latents", "latents"),
    "n_scored": Words("scored latents", "latents"),
    "n_rare": Words("rare latents", "latents"),
    "n_dead": Words("dead latents", "latents"),
    "n_hierarchical": Words("hierarchical latents", "latents"),
    "n_relations": Words("relations of latents", "relations"),
    "n_edges": Words("edges between recovered nodes", "edges"),
    "significant_share": Words("significant latents (share)", _SHARE),
    "single_class_share": Words("latents of one class (share)", _SHARE),
    "lch_height": Words("LCH height", _EDGES),
    "lch_height_contracted": Words("LCH height (contracted tree)", _EDGES),
    "lch_tau_height": Words("LCH_τ height", _EDGES),
    "lch_tau_height_contracted": Words("LCH_τ height (contracted tree)", _EDGES),
    "lch_tau_share": Words("top set under its LCH_τ (share)", _SHARE),
    "coverage": Words("ontological coverage of the LCH, active classes", _SHARE),
    "coverage_tau": Words("ontological coverage, active classes", _SHARE),
    "coverage_top": Words("ontological coverage, top sets", _SHARE),
    "pair_lch": Words("pair-LCH height", _EDGES),
    "pair_lch_contracted": Words("pair-LCH height (contracted tree)", _EDGES),
    "monosemanticity": Words("monosemanticity", "0–1"),
    "coherent_share": Words("coherent latents (share)", _SHARE),
    "purity": Words("purity", _SHARE),
    "best_mcc": Words("best MCC with a node", _MCC),
    "best_internal_mcc": Words("best MCC with an internal node", _MCC),
    "held_out": Words("MCC on held-out classes", _MCC),
    "held_out_large": Words("MCC on held-out classes, nodes of four and more", _MCC),
    "held_out_matched": Words("MCC on held-out classes, at matched number of latents", _MCC),
    "own_best_recovery": Words("internal nodes recovered beyond their children (share)", _SHARE),
    "node_recovery_above_null": Words("internal nodes matched beyond their null (share)", _SHARE),
    **{
        name: Words(f"F1 of up to {size} latent{'s' * (size > 1)}", "0–1")
        for name, size in zip(COALITIONS, COALITION_SIZES, strict=True)
    },
    "node_recovery": Words("internal nodes recovered (share)", _SHARE),
    "node_recovery_matched": Words(
        "internal nodes recovered, at matched number of latents (share)", _SHARE
    ),
    "leaf_recovery": Words("leaves recovered (share)", _SHARE),
    "ontological_coverage": Words("images that fire a hierarchical latent (share)", _SHARE),
    "hierarchy_consistency": Words("relations that follow the taxonomy (share)", _SHARE),
    "parent_given_child": Words("parent's latent fires where the child's does (share)", _SHARE),
    "parent_rate": Words("parent's latent fires anywhere (share)", _SHARE),
    "sibling_overlap": Words("overlap with a sibling's latent (Jaccard)", _SHARE),
    "absorption": Words("absorption", _SHARE),
    "soft_absorption": Words("soft absorption", _SHARE),
    "soft_absorption_at_random": Words("soft absorption by images at random", _SHARE),
    "parent_misses": Words("parents' other misses", _SHARE),
    "splitting": Words("nodes found in parts only (share)", _SHARE),
    # Of other stages, shown beside the scores.
    "fve": Words("variance explained (FVE)", "share, at most 1"),
    "l0": Words("latents per token (L0)", "latents"),
    "dead_share": Words("dead latents (share)", _SHARE),
    "recurrence": Words("recurrence over seeds (share)", _SHARE),
}


ABLATION = {
    "selectivity": "selectivity of ablation, as latents fire",
    "projected": "selectivity of ablation, whole directions",
    "evenness": "evenness over the node's classes",
    "within": "change within the node (KL, nats)",
    "steered": "P(node) gained where latents are added",
    "removed": "length taken away (share of the token)",
    "tpp": "targeted probe perturbation (TPP)",
}
"""Measures of ablation that figures and the page of evidence show."""

PAIR_COLUMNS = ("image", "counterpart", "node", "change")
"""Of a table of pairs of images."""
ADDED, REMOVED, LEAF, OTHER, WITHIN, ACROSS = CHANGES = (
    "added",
    "removed",
    "leaf",
    "other",
    "within",
    "across",
)
"""What a counterpart has that the image has not: what the node's classes share (the reverse for
`removed`), what one class has of its own, something else; another class of the node; a class of
the node in place of one that is not of it."""

BASELINES = {
    "start": "start of topk SAE",
    "random": "random directions",
    "kmeans": "k-means",
    "neurons": "raw neurons",
    "pca": "principal components",
    "class_means": "class means (supervised)",
    "node_means": "node means (supervised)",
}
"""What is not trained, by variant, in the order of figures and tables."""


def with_null(null: str) -> list[str]:
    """Return the scores that have this null."""
    return [name for name, score in SCORES.items() if null in score.nulls]


def labels(*names: str) -> dict[str, str]:
    """Return what these scores are called, by name, in this order.

    Raises
    ------
    KeyError
        If there is no such score.
    """
    return {name: WORDS[name].label for name in names}
