"""How the heights and coverages of a dictionary depend on N, τ and ρ, beside their nulls.

Mean LCH height moves more with the size of the top set than with depth, so no height or coverage
should be read without this table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cladescope.names import SCORES
from cladescope.scores.halves import Halves
from cladescope.scores.lch import active_coverage, locate
from cladescope.scores.measure import mean_of
from cladescope.taxonomy.tree import Tree
from cladescope.threads import in_order

SENSITIVE = {name: str(score.column) for name, score in SCORES.items() if score.sensitive}
"""The scores of the table, with the column that each is the mean of."""


@dataclass(frozen=True)
class SensitivitySpec:
    """Grid of the sensitivity table."""

    top_n: tuple[int, ...] = (16, 32, 64)
    tau: tuple[float, ...] = (0.8, 0.9, 1.0)
    rho: tuple[float, ...] = (0.25, 0.5, 0.75)
    draws: int = 10
    """Leaf permutations for the nulls."""


def sensitivity(
    halves_of: Callable[[int], Halves],
    tree: Tree,
    spec: SensitivitySpec,
    permutations: Sequence[np.ndarray],
    threads: int = 1,
) -> list[dict[str, float | int | None]]:
    """Score the dictionary at every point of the grid.

    Parameters
    ----------
    halves_of
        The firings for a size of the top set, which decides what latents are scored.
    tree, spec
        The taxonomy, and the grid.
    permutations
        Of `nulls.leaf_permutations`; the first `spec.draws` are used.

    Returns
    -------
    One row per (N, τ, ρ): these, `n_scored`, and each score with its permuted-leaf mean.
    """
    rows = []
    for top_n in spec.top_n:
        halves = halves_of(top_n)
        arranged = [halves, *map(halves.permuted, permutations[: spec.draws])]
        for tau in spec.tau:
            scores = partial(_scores, tree=tree, tau=tau, rhos=spec.rho)
            passes = [*in_order(scores, arranged, threads)]
            for rho in spec.rho:
                row: dict[str, float | int | None] = {"top_n": top_n, "tau": tau, "rho": rho}
                row["n_scored"] = len(halves.scored)
                for name in SENSITIVE:
                    value, *null = (mean_of(found[name, rho]) for found in passes)
                    row[name] = None if np.isnan(value) else value
                    known = bool(null) and not np.isnan(null).any()
                    row[f"{name}_null_permuted"] = float(np.mean(null)) if known else None
                rows.append(row)
    return rows


def _scores(
    halves: Halves, tree: Tree, tau: float, rhos: tuple[float, ...]
) -> dict[tuple[str, float], np.ndarray]:
    """Return the column of each score for each ρ, which only one of them depends on."""
    found = locate(halves, tree, tau, rhos[0])
    columns = {
        (name, rho): found.columns[column] for name, column in SENSITIVE.items() for rho in rhos
    }
    for rho in rhos[1:]:
        columns["coverage_tau", rho] = active_coverage(halves, tree, found.lch_tau, rho)
    return columns
