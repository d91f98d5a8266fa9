"""One pass over the firings, and the means of a dictionary that follow from it.

The observed scores, every null draw and every resample are such a pass.
"""

from dataclasses import dataclass

import numpy as np

from cladescope.compiled import compiled
from cladescope.names import SCORES
from cladescope.scores.alignment import Alignment, align
from cladescope.scores.counts import ClassCounts
from cladescope.scores.halves import Halves
from cladescope.scores.lch import Located, locate
from cladescope.scores.pair_lch import pair_heights
from cladescope.taxonomy.tree import INTERNAL, LEAF, PairTables, Tree


@dataclass(frozen=True)
class MeasureSpec:
    """What a pass depends on besides firings and tree; `scores.ScoreSpec` says what they are."""

    tau: float
    rho: float
    mcc_threshold: float
    cutoffs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Measured:
    """What one pass found."""

    located: Located
    alignment: Alignment
    columns: dict[str, np.ndarray]
    """float64 (n_scored,) by name, NaN if missing."""
    top_class: np.ndarray
    """int64 (n_scored,): most frequent class of the choosing half's top set (ties: the one
    with the strongest image)."""


def measure(halves: Halves, tree: Tree, tables: PairTables, spec: MeasureSpec) -> Measured:
    """Score the latents."""
    located = locate(halves, tree, spec.tau, spec.rho)
    alignment = align(halves, tree, spec.cutoffs, spec.mcc_threshold)
    top_class, purity = _purity(halves.choose_top, halves.top)
    columns = {
        **located.columns,
        **pair_heights(halves.top, tables)._asdict(),
        "purity": purity,
        "best_mcc": alignment.best.mcc,
        "best_internal_mcc": alignment.best_internal.mcc,
    }
    return Measured(located, alignment, columns, top_class)


def averages(columns: dict[str, np.ndarray]) -> dict[str, float]:
    """Average each column over the latents that have it; NaN if none."""
    return {name: mean_of(columns[s.column]) for name, s in SCORES.items() if s.column}


def mean_of(values: np.ndarray) -> float:
    """Average what is not missing; NaN if everything is.

    Examples
    --------
    >>> mean_of(np.array([1, np.nan, 3]))
    2.0
    """
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def recovery(
    finders: np.ndarray, n_scored: int, tree: Tree, matched_latents: int
) -> dict[str, float]:
    """Shares of nodes that are recovered: internal, internal at matched number, leaves.

    Of n scored latents, r find a node; m of them taken at random hold one that does with
    probability 1 − C(n − r, m) / C(n, m) (rarefaction; Hurlbert 1971). The matched share is the
    mean over the internal nodes, NaN if n < m.

    Parameters
    ----------
    finders
        Int (n_nodes,): scored latents that find each node.

    See Also
    --------
    cladescope.scores.alignment.align : what a latent must do to find a node.

    Examples
    --------
    Two classes under p and two under q. Of four latents two find p and one finds q: of the six
    pairs of latents five hold one for p and three one for q, (5/6 + 3/6) / 2.

    >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
    >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]}
    >>> taxonomy = taxonomy_from_parents([*"abcd"], parents)
    >>> tree = Tree.of(taxonomy)
    >>> finders = {"p": 2, "q": 1}
    >>> count = np.array([finders.get(taxonomy.nodes[node], 0) for node in tree.node])
    >>> found = recovery(count, 4, tree, matched_latents=2)
    >>> {name: round(share, 3) for name, share in found.items()}
    {'node_recovery': 1.0, 'leaf_recovery': 0.0, 'node_recovery_matched': 0.667}
    """
    shares = {
        name: float((finders[tree.kind == kind] > 0).mean())
        if (tree.kind == kind).any()
        else np.nan
        for name, kind in (("node_recovery", INTERNAL), ("leaf_recovery", LEAF))
    }
    matched = np.nan
    if len(tree.internal) and n_scored >= matched_latents:
        # C(n − r, m) / C(n, m) is the product of (n − r − i) / (n − i) over i < m.
        i = np.arange(matched_latents)
        left = np.maximum(n_scored - finders[tree.internal, None] - i, 0) / (n_scored - i)
        matched = float(1 - left.prod(1).mean())
    return {**shares, "node_recovery_matched": matched}


@compiled
def _purity(choose: ClassCounts, score: ClassCounts) -> tuple[np.ndarray, np.ndarray]:
    """Return each latent's top class in the first counts, and its share of the second.

    Counts list the classes in the order of their strongest images, which decides ties.
    """
    start_a, label_a, count_a = choose
    start_b, label_b, count_b = score
    n_latents = len(start_a) - 1
    top_class, purity = np.full(n_latents, -1, np.int64), np.full(n_latents, np.nan)
    for j in range(n_latents):
        most = 0
        for i in range(start_a[j], start_a[j + 1]):
            if count_a[i] > most:
                most, top_class[j] = count_a[i], label_a[i]
        hits, total = 0, 0
        for i in range(start_b[j], start_b[j + 1]):
            total += count_b[i]
            if label_b[i] == top_class[j]:
                hits += count_b[i]
        if most > 0 and total > 0:
            purity[j] = hits / total
    return top_class, purity
