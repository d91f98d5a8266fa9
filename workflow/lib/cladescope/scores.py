"""Taxonomy scores of a dictionary: of each latent, of each node of the hierarchy, and over all.

`docs/scores.md` defines every column and every score. `measures.py` holds the scores as functions
of class counts and `nulls.py` the null draws; here they are put together and written as tables.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.class_counts import ClassCounts, Firings
from cladescope.codes import Codes
from cladescope.files import write_aside, write_json
from cladescope.measures import (
    Alignment,
    BestNode,
    Tree,
    align_inner,
    align_leaves,
    best_nodes,
    is_internal,
    locate,
    measure,
    taxonomy_node,
)
from cladescope.nulls import (
    ClassPairs,
    DrawMeans,
    benjamini_hochberg,
    leaf_permutations,
    pair_null,
    shuffled_labels,
    summarise,
)
from cladescope.score_tables import latent_table, node_table
from cladescope.taxonomy import Taxonomy

# Scores that are means over the scored latents, of the column of the same name (or as given).
MEAN_SCORES = {
    "lch_height": "lch_height",
    "lch_height_contracted": "lch_height_contracted",
    "lch_tau_height": "lch_tau_height",
    "lch_tau_height_contracted": "lch_tau_height_contracted",
    "coverage": "coverage",
    "coverage_tau": "coverage_tau",
    "coverage_top": "coverage_top",
    "pair_lch": "pair_lch",
    "pair_lch_contracted": "pair_lch_contracted",
    "coherent_share": "coherent",
    "purity": "purity",
    "best_mcc": "best_mcc",
    "best_internal_mcc": "best_internal_mcc",
}
# Scores that stand beside their nulls. Purity and leaf recovery cannot change when leaves change
# places, so those two have only the shuffled one.
SHUFFLED_SCORES = (*MEAN_SCORES, "node_recovery", "leaf_recovery")
PERMUTED_SCORES = tuple(n for n in SHUFFLED_SCORES if n not in ("purity", "leaf_recovery"))


@dataclass(frozen=True)
class ScoreSpec:
    """What the scores depend on besides the codes, the labels and the taxonomy."""

    top_n: int = 32
    """Images in a latent's top set; a latent that fires on fewer is rare and not scored."""
    tau: float = 0.9
    """Share of the top set that LCH_τ has to cover; above 0.5, at most 1."""
    class_share: float = 0.05
    """Share of the top set that a class has to hold to count in `coverage_top`."""
    rho: float = 0.5
    """Share of a class's images that has to fire a latent for it to be active on the class."""
    mcc_threshold: float = 0.5
    """MCC from which on a node counts as recovered."""
    cutoffs: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    """Rank cut-offs of the node alignment, in images, besides "every image that fires"."""
    null_draws: int = 100
    """Leaf permutations for the nulls of the dictionary's scores."""
    p_draws: int = 1000
    """Leaf permutations for the latents' p-values: none is below 1 / (1 + p_draws)."""
    shuffle_draws: int = 10
    """Label shuffles."""
    fdr: float = 0.05
    """A latent is significant if its q-value is below this."""
    seed: int = 0
    """Of all draws."""

    def __post_init__(self) -> None:
        problems = []
        if not 0.5 < self.tau <= 1:
            problems.append(f"tau must be above 0.5 and at most 1, not {self.tau}")
        for name in ("class_share", "rho"):
            if not 0 < getattr(self, name) <= 1:
                problems.append(f"{name} must be above 0 and at most 1, not {getattr(self, name)}")
        if self.top_n < 2:
            problems.append(f"top_n must be at least 2, not {self.top_n}")
        if any(cutoff < 1 for cutoff in self.cutoffs):
            problems.append(f"cutoffs must be at least 1, not {self.cutoffs}")
        for name in ("null_draws", "p_draws", "shuffle_draws", "seed"):
            if getattr(self, name) < 0:
                problems.append(f"{name} must not be negative, as {getattr(self, name)}")
        if problems:
            raise ValueError("scores: " + "; ".join(problems))


class DictionaryScores(NamedTuple):
    """The three results; every column and key is defined in `docs/scores.md`."""

    latents: pa.Table
    """One row per latent."""
    nodes: pa.Table
    """One row per contracted internal node below the root."""
    scores: dict[str, float | int | None]
    """The dictionary's scores and their nulls; None where a score is undefined."""

    def save(self, latents: str | Path, nodes: str | Path, scores: str | Path) -> None:
        """Write the tables as Parquet and the scores as JSON; the same scores, the same bytes."""
        for table, path in ((self.latents, latents), (self.nodes, nodes)):
            with write_aside(path) as aside:
                pq.write_table(table, aside, compression="zstd")
        write_json(scores, self.scores)


def score_dictionary(
    codes: Codes, labels: np.ndarray, taxonomy: Taxonomy, spec: ScoreSpec | None = None
) -> DictionaryScores:
    """Score a dictionary's latents against the class hierarchy, beside the nulls.

    Time is linear in latents and in draws, memory in non-zeros; deterministic from `spec.seed`.

    Parameters
    ----------
    codes
        Activations of one split, sorted by image.
    labels
        Int (n_images,): class of each image, in the order of the taxonomy's leaves.
    taxonomy
        Of at least two classes.
    spec
        The defaults if None.

    Raises
    ------
    ValueError
        If the codes are not sorted, out of range or not positive, or the labels do not fit.
    """
    spec = spec or ScoreSpec()
    labels = np.asarray(labels).astype(np.int64)
    _check(codes, labels, taxonomy)
    tree = Tree.of(taxonomy)
    firings = Firings.of(codes, spec.top_n)
    permutations = leaf_permutations(tree, max(spec.null_draws, spec.p_draws), spec.seed)
    few = permutations[: spec.null_draws]
    heights = tree.pair_heights()

    found = _measure_latents(firings, labels, tree, spec, few)
    columns, pairs = found.columns, found.pairs
    raw = pair_null(pairs, heights[0], permutations[: spec.p_draws])
    contracted = pair_null(pairs, heights[1], few)
    for name, values in {
        "pair_lch": raw.value,
        "pair_lch_contracted": contracted.value,
        "pair_lch_null_permuted": raw.latent_mean,
        "p_value": raw.p_value,
        "q_value": benjamini_hochberg(raw.p_value),
    }.items():
        columns[name] = _spread(values, pairs.latent, len(firings.scored))
    columns["significant"] = columns["q_value"] < spec.fdr
    columns["hierarchical"] = columns["significant"] & columns["internal"]

    scores: dict[str, float | int | None] = {
        "n_images": codes.n_images,
        "n_classes": len(taxonomy.leaves),
        "n_internal_nodes": len(found.inner_mcc),
        **_census(codes, firings, columns),
        **_means(found, spec),
    }
    permuted = found.permuted | {
        "pair_lch": raw.draw_mean,
        "pair_lch_contracted": contracted.draw_mean,
        "node_recovery": _recovery(found.permuted_inner_mcc, spec),
    }
    for name in PERMUTED_SCORES:
        scores |= summarise(name, "permuted", permuted.get(name, np.zeros(0)))
    shuffled = [
        _shuffled_means(firings, shuffle, tree, heights, spec)
        for shuffle in shuffled_labels(labels, spec.shuffle_draws, spec.seed)
    ]
    for name in SHUFFLED_SCORES:
        draws = [value for means in shuffled if (value := means[name]) is not None]
        scores[f"{name}_null_shuffled"] = float(np.mean(draws)) if draws else None

    nodes = {
        "node": tree.node[tree.below_root],
        "n_images": np.bincount(labels, minlength=len(taxonomy.leaves))
        @ tree.ancestors[:, tree.below_root].astype(np.int64),
        "best_mcc": found.inner_mcc,
        "best_latent": np.append(firings.scored, -1)[found.inner_latent],
        "null_draws": found.permuted_inner_mcc,
    }
    return DictionaryScores(
        latents=latent_table(firings.count, codes.n_images, firings.scored, columns, taxonomy),
        nodes=node_table(nodes, spec.mcc_threshold, taxonomy),
        scores=scores,
    )


def _check(codes: Codes, labels: np.ndarray, taxonomy: Taxonomy) -> None:
    """Raise a ValueError that names everything that is wrong with the input."""
    problems = []
    if labels.shape != (codes.n_images,):
        problems.append(f"{codes.n_images} images, but labels of shape {labels.shape}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(taxonomy.leaves)):
        problems.append(f"labels outside 0..{len(taxonomy.leaves) - 1}, the taxonomy's classes")
    if len(codes.image):
        if (np.diff(codes.image) < 0).any():
            problems.append("codes not sorted by image")
        if codes.image.min() < 0 or codes.image.max() >= codes.n_images:
            problems.append(f"codes of images outside 0..{codes.n_images - 1}")
        if codes.latent.min() < 0 or codes.latent.max() >= codes.width:
            problems.append(f"codes of latents outside 0..{codes.width - 1}")
        if not (codes.activation > 0).all():
            problems.append("codes with an activation that is not above 0")
    if problems:
        raise ValueError(f"cannot score the dictionary: {'; '.join(problems)}")


class _Found(NamedTuple):
    """What one pass over the scored latents finds, under one set of labels."""

    columns: dict[str, np.ndarray]
    """(n_scored,) each, by column name."""
    pairs: ClassPairs
    """Of the top sets."""
    inner_mcc: np.ndarray
    """float64 (n_inner - 1,): best MCC of each internal node below the root; −inf if none."""
    inner_latent: np.ndarray
    """int64 (n_inner - 1,): the scored latent that has it; −1 if none."""
    leaf_mcc: np.ndarray
    """float64 (n_leaves,): best MCC of each leaf."""
    permuted: dict[str, np.ndarray]
    """float64 (draws,) by score: mean over latents per leaf permutation."""
    permuted_inner_mcc: np.ndarray
    """float64 (draws, n_inner - 1): `inner_mcc` per leaf permutation."""


def _measure_latents(
    firings: Firings,
    labels: np.ndarray,
    tree: Tree,
    spec: ScoreSpec,
    permutations: np.ndarray,
) -> _Found:
    """Go over the scored latents in blocks, each with all its leaf permutations."""
    n_classes, n_inner = len(tree.leaf), int(tree.below_root.sum())
    inner_mcc, inner_latent = np.full(n_inner, -np.inf), np.full(n_inner, -1)
    leaf_mcc = np.full(int((tree.leaf >= 0).sum()), -np.inf)
    permuted_inner_mcc = np.full((len(permutations), n_inner), -np.inf)
    permuted = DrawMeans(len(permutations))
    columns: list[dict[str, np.ndarray]] = []
    pairs: list[ClassPairs] = []
    if not len(firings.scored):
        nothing = ClassPairs.of(np.zeros((0, n_classes)))
        columns, pairs = [{"internal": np.zeros(0, bool), "purity": np.zeros(0)}], [nothing]
    sizes = (spec.top_n, spec.cutoffs, spec.class_share, spec.rho)
    for first, counts in firings.blocks(labels, n_classes, *sizes):
        inner, leaves = align_inner(counts, tree), align_leaves(counts, tree)
        best_leaf = best_nodes(leaves, counts)
        columns.append(_columns(counts, tree, spec, inner, best_leaf))
        pairs.append(ClassPairs.of(counts.top))

        row = inner.mcc.argmax(0)
        better = inner.mcc.max(0) > inner_mcc
        latent = first + np.searchsorted(counts.first_row, row, side="right") - 1
        inner_latent = np.where(better, latent, inner_latent)
        inner_mcc = np.maximum(inner_mcc, inner.mcc.max(0))
        leaf_mcc = np.maximum(leaf_mcc, leaves.mcc.max(0))
        for draw, permutation in enumerate(permutations):
            drawn = measure(counts, tree.permuted(permutation), spec.tau)
            of_nodes = drawn.pop("inner_mcc")
            permuted_inner_mcc[draw] = np.maximum(permuted_inner_mcc[draw], of_nodes)
            # Leaves only change places, so the best of them stays as good.
            drawn["best_mcc"] = np.fmax(drawn["best_internal_mcc"], best_leaf.mcc)
            permuted.add(draw, drawn)
    return _Found(
        {name: np.concatenate([block[name] for block in columns]) for name in columns[0]},
        ClassPairs.joined(pairs, [len(block["purity"]) for block in columns]),
        inner_mcc,
        inner_latent,
        leaf_mcc,
        permuted.means(),
        permuted_inner_mcc,
    )


def _columns(
    counts: ClassCounts, tree: Tree, spec: ScoreSpec, inner_alignment: Alignment, leaf: BestNode
) -> dict[str, np.ndarray]:
    """Compute the columns of a block's latents, but for pair-LCH; nodes as taxonomy indices."""
    exact, tolerant = locate(counts.top, tree, (1.0, spec.tau))
    measured = measure(counts, tree, spec.tau, inner_alignment)
    inner = best_nodes(inner_alignment, counts)
    leaf_wins = ~(inner.mcc > leaf.mcc)  # also where there is no inner node (NaN)
    inner_nodes = np.append(tree.node[tree.below_root], -1)
    leaf_nodes = tree.leaf[tree.leaf >= 0]
    return {
        "n_classes": (counts.top > 0).sum(1),
        "n_frequent_classes": counts.frequent.member.sum(1),
        "top_class": counts.top.argmax(1),
        "purity": counts.top.max(1) / spec.top_n,
        "lch": taxonomy_node(exact, tree),
        "lch_tau": taxonomy_node(tolerant, tree),
        "coverage": measured["coverage"],
        "coverage_tau": measured["coverage_tau"],
        "coverage_top": measured["coverage_top"],
        "internal": is_internal(tolerant, tree),
        "coherent": measured["coherent_share"] > 0,
        "best": np.where(leaf_wins, leaf_nodes[leaf.column], inner_nodes[inner.column]),
        "best_internal": inner_nodes[inner.column],
        **{
            f"best_{name}": np.where(leaf_wins, getattr(leaf, name), getattr(inner, name))
            for name in ("mcc", "cutoff", "precision", "recall")
        },
        **{
            f"best_internal_{name}": getattr(inner, name)
            for name in ("mcc", "cutoff", "precision", "recall")
        },
        **{name: values for name, values in measured.items() if "height" in name},
    }


def _spread(values: np.ndarray, position: np.ndarray, n_scored: int) -> np.ndarray:
    """Put values at the given positions of a float64 (n_scored,) array, NaN elsewhere."""
    column = np.full(n_scored, np.nan)
    column[position] = values
    return column


def _census(
    codes: Codes, firings: Firings, columns: dict[str, np.ndarray]
) -> dict[str, float | int | None]:
    """Count the latents, and the images that fire a hierarchical one."""
    n_live, n_scored = np.count_nonzero(firings.count), len(firings.scored)
    hierarchical = np.zeros(codes.width, bool)
    hierarchical[firings.scored[columns["hierarchical"]]] = True
    covered = np.unique(codes.image[hierarchical[codes.latent]])
    single = ~columns["internal"] & (columns.get("lch_tau_height", np.zeros(0)) == 0)
    return {
        "n_live": int(n_live),
        "n_scored": n_scored,
        "n_rare": int(n_live) - n_scored,
        "n_dead": codes.width - int(n_live),
        "n_hierarchical": int(hierarchical.sum()),
        "significant_share": float(columns["significant"].mean()) if n_scored else None,
        "single_class_share": float(single.mean()) if n_scored else None,
        "ontological_coverage": len(covered) / codes.n_images if codes.n_images else None,
    }


def _means(found: _Found, spec: ScoreSpec) -> dict[str, float | None]:
    """Average the columns over the latents that have them, and count recovered nodes."""
    means: dict[str, float | None] = {}
    for name, column in MEAN_SCORES.items():
        values = found.columns.get(column, np.zeros(0)).astype(np.float64)
        values = values[~np.isnan(values)]
        means[name] = float(values.mean()) if len(values) else None
    for name, best in (("node_recovery", found.inner_mcc), ("leaf_recovery", found.leaf_mcc)):
        share = _recovery(best, spec)
        means[name] = None if np.isnan(share) else float(share)
    return means


def _recovery(best_mcc: np.ndarray, spec: ScoreSpec) -> np.ndarray:
    """Share of nodes (last axis) with an MCC at the threshold or above; NaN without nodes."""
    if not best_mcc.shape[-1]:
        return np.full(best_mcc.shape[:-1], np.nan)
    return (best_mcc >= spec.mcc_threshold).mean(-1)


def _shuffled_means(
    firings: Firings, labels: np.ndarray, tree: Tree, heights: np.ndarray, spec: ScoreSpec
) -> dict[str, float | None]:
    """Score the dictionary once more, as if the images had these labels."""
    none = np.zeros((0, len(tree.leaf)), np.int64)
    found = _measure_latents(firings, labels, tree, spec, none)
    for name, kind in zip(("pair_lch", "pair_lch_contracted"), heights, strict=True):
        value = pair_null(found.pairs, kind, none).value
        found.columns[name] = _spread(value, found.pairs.latent, len(firings.scored))
    return _means(found, spec)
