"""The scores of a dictionary, each with what stands beside it and which way it points.

Tables, trends, figures and the atlas take names, words and properties from here. docs/scores.md
says what each score means; a test holds its names, units and suffixes equal to these.
"""

from dataclasses import dataclass

PERMUTED, SHUFFLED, RANDOM = "permuted", "shuffled", "random"
"""Nulls: leaves change places in the tree, labels are shuffled, images are drawn at random."""
SUFFIXES = {
    PERMUTED: ("", "_low", "_high", "_p"),
    SHUFFLED: ("",),
    RANDOM: ("",),
}
"""Columns of a score's null, each behind `{score}_null_{null}`."""
INTERVAL = ("_low", "_high")
MORE, LESS = 1, -1

_SHARE, _EDGES, _MCC = "share, 0–1", "edges", "−1 to 1"
_ALL = (PERMUTED, SHUFFLED, RANDOM)
# Permuting leaves cannot change how one class is found.
_OF_CLASSES = (SHUFFLED, RANDOM)
# What needs significant latents or relations has no shuffled null.
_OF_HIERARCHY = (PERMUTED,)


@dataclass(frozen=True)
class Score:
    """One number for each dictionary, a column of `metrics.csv`."""

    name: str
    label: str
    """What figures and the atlas call it."""
    unit: str
    """And the range."""
    hierarchical: int = 0
    """`MORE` or `LESS` of it says that a dictionary is more hierarchical; 0: neither does."""
    nulls: tuple[str, ...] = ()
    """What it is compared with; a score with a null has a 95% interval, too."""
    column: str | None = None
    """The column of `latents.parquet` that it is the mean of, over the scored latents."""
    sensitive: bool = False
    """Whether it is in the table over N, τ and ρ."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Its own column and all that stand beside it."""
        interval = [f"{self.name}{end}" for end in INTERVAL if self.nulls]
        return (
            self.name,
            *interval,
            *(f"{self.name}_null_{null}{end}" for null in self.nulls for end in SUFFIXES[null]),
        )


def _mean(name: str, label: str, unit: str, *, column: str = "", **properties: object) -> Score:
    properties = {"hierarchical": MORE, "nulls": _ALL, **properties}
    return Score(name, label, unit, column=column or name, **properties)  # type: ignore[arg-type]


SCORES = {
    score.name: score
    for score in (
        Score("n_images", "images", "images"),
        Score("n_classes", "classes", "classes"),
        Score("n_internal_nodes", "internal nodes", "nodes"),
        Score("n_live", "live latents", "latents"),
        Score("n_scored", "scored latents", "latents"),
        Score("n_rare", "rare latents", "latents"),
        Score("n_dead", "dead latents", "latents"),
        Score("n_hierarchical", "hierarchical latents", "latents"),
        Score("n_relations", "relations of latents", "relations"),
        Score("n_edges", "edges between recovered nodes", "edges"),
        Score("significant_share", "significant latents (share)", _SHARE),
        Score("single_class_share", "latents of one class (share)", _SHARE),
        _mean("lch_height", "LCH height", _EDGES, hierarchical=LESS),
        _mean("lch_height_contracted", "LCH height (contracted tree)", _EDGES, hierarchical=LESS),
        _mean("lch_tau_height", "LCH_τ height", _EDGES, hierarchical=LESS, sensitive=True),
        _mean(
            "lch_tau_height_contracted",
            "LCH_τ height (contracted tree)",
            _EDGES,
            hierarchical=LESS,
            sensitive=True,
        ),
        _mean("lch_tau_share", "top set under its LCH_τ (share)", _SHARE, sensitive=True),
        _mean("coverage", "ontological coverage of the LCH, active classes", _SHARE),
        _mean("coverage_tau", "ontological coverage, active classes", _SHARE, sensitive=True),
        _mean("coverage_top", "ontological coverage, top sets", _SHARE, sensitive=True),
        _mean("pair_lch", "pair-LCH height", _EDGES, hierarchical=LESS),
        _mean(
            "pair_lch_contracted",
            "pair-LCH height (contracted tree)",
            _EDGES,
            hierarchical=LESS,
        ),
        _mean("monosemanticity", "monosemanticity", "0–1"),
        _mean(
            "coherent_share", "coherent latents (share)", _SHARE, column="coherent", sensitive=True
        ),
        _mean("purity", "purity", _SHARE, nulls=_OF_CLASSES),
        _mean("best_mcc", "best MCC with a node", _MCC),
        _mean("best_internal_mcc", "best MCC with an internal node", _MCC),
        Score("node_recovery", "internal nodes recovered (share)", _SHARE, MORE, _ALL),
        Score(
            "node_recovery_matched",
            "internal nodes recovered, at matched number of latents (share)",
            _SHARE,
            MORE,
            _ALL,
        ),
        Score("leaf_recovery", "leaves recovered (share)", _SHARE, MORE, _OF_CLASSES),
        Score(
            "ontological_coverage",
            "images that fire a hierarchical latent (share)",
            _SHARE,
            MORE,
            _OF_HIERARCHY,
        ),
        Score(
            "hierarchy_consistency",
            "relations that follow the taxonomy (share)",
            _SHARE,
            MORE,
            _OF_HIERARCHY,
        ),
        Score("absorption", "absorption", _SHARE, LESS, _OF_HIERARCHY),
        Score("parent_misses", "parents' other misses", _SHARE, 0, _OF_HIERARCHY),
        Score("splitting", "nodes found in parts only (share)", _SHARE, MORE, _OF_HIERARCHY),
    )
}
"""All of `scores.json`."""
QUALITY = {
    score.name: score
    for score in (
        Score("fve", "variance explained (FVE)", "share, at most 1"),
        Score("l0", "latents per token (L0)", "latents"),
        Score("dead_share", "dead latents (share)", _SHARE),
        Score("recurrence", "recurrence over seeds (share)", _SHARE),
    )
}
"""Columns of other stages that figures or the atlas show beside the scores."""


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
    every = SCORES | QUALITY
    return {name: every[name].label for name in names}
