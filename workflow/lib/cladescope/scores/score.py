"""Taxonomy scores of a dictionary: of each latent, of each node of the hierarchy, and over all.

`docs/scores.md` defines every column and every score. `lch.py` finds the LCH of top sets,
`pair_lch.py` that of pairs of images, `alignment.py` the best nodes, `relations.py` looks at pairs
of latents; `measure.py` puts these into one pass, `passes.py` repeats it for what `nulls.py` draws,
and `tables.py` writes.
"""

from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.files import write_aside, write_json
from cladescope.names import COALITIONS
from cladescope.scores.auroc import auroc
from cladescope.scores.by_size import above_null, scores_by_size
from cladescope.scores.coalitions import coalitions
from cladescope.scores.halves import Halves, halve
from cladescope.scores.held_out import (
    N_FOLDS,
    NULL_FOLDS,
    Folds,
    held_out,
    mean_over,
    random_subsets,
)
from cladescope.scores.measure import mean_of
from cladescope.scores.nulls import leaf_permutations
from cladescope.scores.pair_null import PairNull
from cladescope.scores.passes import Result, Scorer, or_none
from cladescope.scores.relations import contained_latents, soft_absorption_at_random
from cladescope.scores.sensitivity import sensitivity
from cladescope.scores.spec import ScoreSpec
from cladescope.scores.splitting import split_and_warn
from cladescope.scores.tables import (
    edge_table,
    latent_table,
    node_table,
    relation_table,
    sensitivity_table,
    size_table,
)
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import LEAF, Tree
from cladescope.threads import in_order


class DictionaryScores(NamedTuple):
    """The results; every column and key is defined in `docs/scores.md`."""

    latents: pa.Table
    """One row per latent."""
    nodes: pa.Table
    """One row per internal node."""
    sizes: pa.Table
    """One row per size of the internal nodes."""
    relations: pa.Table
    """One row per pair of latents of which one fires within the other."""
    edges: pa.Table
    """One row per parent–child pair of recovered nodes."""
    sensitivity: pa.Table
    """One row per point of the grid."""
    scores: dict[str, float | int | None]
    """The dictionary's scores, intervals and nulls; None where a score is undefined."""

    def save(self, folder: str | Path, machine: str) -> None:
        """Write the tables as Parquet and the scores, with what made them, as JSON.

        The same scores make the same bytes.
        """
        for name in self._fields[:-1]:
            with write_aside(Path(folder) / f"{name}.parquet") as aside:
                pq.write_table(getattr(self, name), aside, compression="zstd")
        write_json(Path(folder) / "scores.json", {**self.scores, "machine": machine})


def score_dictionary(
    codes: Codes,
    labels: np.ndarray,
    taxonomy: Taxonomy,
    spec: ScoreSpec | None = None,
    groups: np.ndarray | None = None,
    threads: int = 1,
) -> DictionaryScores:
    """Score a dictionary's latents against the class hierarchy, beside the nulls.

    Time is linear in non-zeros and in draws, memory in non-zeros and threads; deterministic from
    `spec.seed`, whatever the number of threads.

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
    groups
        Int (n_images,), from 0: images of a group come into the same half and are drawn anew
        together. None: each for itself.
    threads
        Passes that run side by side.

    Raises
    ------
    ValueError
        If the codes are not sorted, out of range or not positive, the labels do not fit, or the
        halves would need a group to be split.
    """
    spec = spec or ScoreSpec()
    labels = np.asarray(labels).astype(np.int64)
    _check(codes, labels, taxonomy)
    tree, n_classes = Tree.of(taxonomy), len(taxonomy.leaves)
    size = np.bincount(labels, minlength=n_classes)
    parts, spec = split_and_warn(labels, taxonomy.leaves, spec, groups)
    ranked = strongest_first(codes, spec.seed)
    halves = halve(ranked, labels, n_classes, spec.top_n, parts, groups)
    tables = tree.pair_tables()
    permutations = leaf_permutations(tree, spec.seed)
    null = PairNull.of(halves, tables.height, permutations, spec.p_draws, spec.fdr, threads)
    n_rearranged = max(spec.null_draws, spec.sensitivity.draws)
    rearranged = [*islice(leaf_permutations(tree, spec.seed), n_rearranged)]
    scorer = Scorer(halves, tree, tables, spec, contained_latents(halves.score), threads)

    def halve_at(top_n: int) -> Halves:
        return halve(ranked, labels, n_classes, top_n, parts)

    folds = Folds.of(tree, N_FOLDS, spec.seed)
    observed, permuted = _score(scorer, null, folds, rearranged[: spec.null_draws])
    beyond = above_null(observed, permuted, tree)
    together = coalitions(halves, tree)
    at_random = soft_absorption_at_random(halves.score, observed.edges, tree, spec.seed)
    return DictionaryScores(
        latents=latent_table(codes, labels, halves, _columns(observed, scorer, null), taxonomy),
        nodes=node_table(observed, permuted, together, halves.scored, size, tree),
        sizes=size_table(scores_by_size(observed, permuted, beyond, tree)),
        relations=relation_table(
            scorer.relations, halves.scored, observed.found.alignment.best.node, tree
        ),
        edges=edge_table(observed.edges, at_random, halves.scored, tree),
        sensitivity=sensitivity_table(
            sensitivity(halve_at, tree, spec.sensitivity, rearranged, threads)
        ),
        scores={
            "n_images": int((parts[0] | parts[1]).sum()),
            "n_classes": n_classes,
            "n_internal_nodes": len(tree.internal),
            "n_relations": len(scorer.relations.child),
            "n_edges": len(observed.edges.parent),
            **_census(codes, halves, observed, null.significant() if spec.p_draws else None, tree),
            **{name: or_none(value) for name, value in observed.means.items()},
            "held_out_matched": or_none(_matched(halves, folds, spec)),
            "node_recovery_above_null": or_none(mean_of(beyond)),
            **dict(zip(COALITIONS, map(or_none, mean_over(together.f1, 0)), strict=True)),
            "soft_absorption_at_random": or_none(mean_of(at_random)),
            **scorer.intervals(observed),
            **scorer.nulls(observed, permuted),
        },
    )


def _score(
    scorer: Scorer, null: PairNull, folds: Folds, rearranged: list[np.ndarray]
) -> tuple[Result, list[Result]]:
    """Score the latents as they are, and with the leaves in each of the orders given."""
    few = folds.some(NULL_FOLDS)

    def permuted(draw: int) -> Result:
        halves = scorer.halves.permuted(rearranged[draw])
        return scorer.score(halves, null.significant(draw), few)

    observed = scorer.score(scorer.halves, null.significant(), folds)
    return observed, [*in_order(permuted, range(len(rearranged)), scorer.threads)]


def _matched(halves: Halves, folds: Folds, spec: ScoreSpec) -> float:
    """Score held-out classes with `matched_latents` latents at random in each fold."""
    size, n_folds = spec.matched_latents, folds.first.shape[1]
    allowed = random_subsets(len(halves.scored), size, n_folds, spec.seed)
    if allowed is None:
        return np.nan
    return mean_of(mean_over(held_out(halves, folds, spec.cutoffs, allowed), 1))


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


def _columns(observed: Result, scorer: Scorer, null: PairNull) -> dict[str, np.ndarray]:
    """Name the columns of the scored latents; nodes as indices of the taxonomy, -1 for none."""
    found, tree, halves = observed.found, scorer.tree, scorer.halves
    alignment, counts = found.alignment, halves.top.images.astype(np.float64)
    latent = np.repeat(np.arange(len(halves.scored)), np.diff(halves.top.start))
    squares = np.bincount(latent, counts**2, minlength=len(halves.scored))
    columns = {
        **found.columns,
        "coherent": found.columns["coherent"] > 0,
        "n_classes": np.diff(halves.top.start),
        "effective_classes": halves.top_n**2 / squares,
        "top_class": found.top_class,
        "lch": tree.node[found.located.lch],
        "lch_tau": tree.node[found.located.lch_tau],
        "pair_lch_null_permuted": null.mean,
        "p_value": null.p_value,
        "q_value": null.q_value,
        "significant": null.significant(),
        "hierarchical": observed.hierarchical,
    }
    for name, best in (("best", alignment.best), ("best_internal", alignment.best_internal)):
        columns |= {
            name: np.where(best.node >= 0, tree.node[best.node], -1),
            f"{name}_auroc": auroc(halves, tree, best.node),
            f"{name}_cutoff": best.cutoff,
            f"{name}_precision": best.precision,
            f"{name}_recall": best.recall,
        }
    return columns


def _census(
    codes: Codes, halves: Halves, observed: Result, significant: np.ndarray | None, tree: Tree
) -> dict[str, float | int | None]:
    """Count the latents by what they are."""
    n_live = int(np.count_nonzero(np.bincount(codes.latent, minlength=codes.width)))
    n_scored = len(halves.scored)
    single = tree.kind[observed.found.located.lch_tau] == LEAF
    return {
        "n_live": n_live,
        "n_scored": n_scored,
        "n_rare": n_live - n_scored,
        "n_dead": codes.width - n_live,
        "n_hierarchical": None if significant is None else int(observed.hierarchical.sum()),
        "significant_share": None
        if significant is None or not n_scored
        else float(significant.mean()),
        "single_class_share": float(single.mean()) if n_scored else None,
    }
