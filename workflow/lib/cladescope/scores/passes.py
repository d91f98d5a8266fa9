"""The passes of one dictionary: as observed, with permuted leaves, of other nulls, of resamples.

A pass measures the firings once: with the classes as they are, rearranged, or on images drawn anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cladescope.names import INTERVAL, NORMAL_95, PERMUTED, RANDOM, SCORES, SHUFFLED, with_null
from cladescope.scores.halves import Firings, Halves
from cladescope.scores.held_out import LARGE, Folds, held_out, mean_over
from cladescope.scores.measure import Measured, averages, mean_of, measure, recovery
from cladescope.scores.nulls import Stream, random_images, shuffled_labels, summarise
from cladescope.scores.relations import (
    Edges,
    Relations,
    absorption,
    consistency,
    edge_means,
    splitting,
)
from cladescope.scores.spec import ScoreSpec
from cladescope.taxonomy.tree import PairTables, Tree
from cladescope.threads import in_order


class Result(NamedTuple):
    """All that one arrangement of the classes comes to."""

    found: Measured
    edges: Edges
    hierarchical: np.ndarray
    """bool (n_scored,)."""
    held_out: np.ndarray
    """float64 (n_internal,): mean over the folds; NaN where no fold has a score."""
    means: dict[str, float]
    """NaN where a score is undefined."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """Runs the passes of one dictionary."""

    halves: Halves
    tree: Tree
    tables: PairTables
    spec: ScoreSpec
    relations: Relations
    threads: int = 1
    """Passes at a time; results do not depend on it."""

    def score(self, halves: Halves, significant: np.ndarray, folds: Folds) -> Result:
        """Score the dictionary's firings, or the same with other labels.

        bool (n_scored,) `significant`: latents beyond the permuted-leaf null.
        """
        found = self._measure(halves)
        edges = absorption(halves.score, found.alignment, self.tree, self.spec.mcc_threshold)
        hierarchical = significant & (found.columns["internal"] > 0)
        by_node = mean_over(held_out(halves, folds, self.spec.cutoffs), 1)
        large = self.tree.n_leaves[self.tree.internal] >= LARGE
        means = {
            **averages(found.columns),
            "held_out": mean_of(by_node),
            "held_out_large": mean_of(by_node[large]),
            "own_best_recovery": mean_of(found.alignment.own_finders[self.tree.internal] > 0),
            **self._recovery(found),
            "ontological_coverage": _covered_share(halves.score, hierarchical)
            if self.spec.p_draws
            else np.nan,
            "hierarchy_consistency": consistency(
                self.relations, found.alignment.best.node, self.tree
            ),
            **edge_means(edges),
            "splitting": splitting(found.alignment, self.tree),
        }
        return Result(found, edges, hierarchical, by_node, means)

    def means(self, halves: Halves) -> dict[str, float]:
        """Average the scores of other firings."""
        found = self._measure(halves)
        return averages(found.columns) | self._recovery(found)

    def intervals(self, observed: Result) -> dict[str, float | None]:
        """Of these latents, were they scored on other images of the same classes.

        The images are resampled within their class and half; the interval is the score ± 1.96
        standard deviations of the resampled scores. (Not their percentiles: a resample repeats
        images, which lowers heights whatever the latent.) Where images have groups, these are
        drawn anew, within their half; there are no intervals if a half is a single group.
        """
        random = np.random.default_rng((self.spec.seed, Stream.BOOTSTRAP))
        draws = self.spec.bootstrap_draws if self.halves.can_resample else 0
        drawn = (self.halves.changed(lambda half: half.resampled(random)) for _ in range(draws))
        resamples = [*in_order(self.means, drawn, self.threads)]
        ends: dict[str, float | None] = {}
        for name in (name for name, score in SCORES.items() if score.interval):
            values = np.array([means[name] for means in resamples])
            values = values[~np.isnan(values)]
            margin = NORMAL_95 * values.std(ddof=1) if len(values) > 1 else np.nan
            for end, sign in zip(INTERVAL, (-1, 1), strict=True):
                ends[f"{name}{end}"] = or_none(observed.means[name] + sign * margin)
        return ends

    def nulls(self, observed: Result, permuted: Sequence[Result]) -> dict[str, float | None]:
        """Put each score's nulls beside it: of the permuted passes, and of passes run here."""
        nulls: dict[str, float | None] = {}
        for name in with_null(PERMUTED):
            values = np.array([drawn.means[name] for drawn in permuted])
            nulls |= summarise(name, observed.means[name], values)
        draws = self.spec.shuffle_draws
        for null, draws_of in ((SHUFFLED, shuffled_labels), (RANDOM, random_images)):
            arranged = draws_of(self.halves, draws, self.spec.seed)
            drawn = [*in_order(self.means, arranged, self.threads)]
            for name in with_null(null):
                values = np.array([means[name] for means in drawn])
                nulls[f"{name}_null_{null}"] = or_none(mean_of(values))
        return nulls

    def _recovery(self, found: Measured) -> dict[str, float]:
        finders, n_scored = found.alignment.finders, len(self.halves.scored)
        return recovery(finders, n_scored, self.tree, self.spec.matched_latents)

    def _measure(self, halves: Halves) -> Measured:
        return measure(halves, self.tree, self.tables, self.spec.measures)


def _covered_share(score: Firings, latents: np.ndarray) -> float:
    """Share of the scoring half's images that fire at least one of these latents."""
    covered = np.zeros(len(score.labels), bool)
    covered[score.image[np.repeat(latents, score.n_firing)]] = True
    return float(covered.mean()) if len(covered) else np.nan


def or_none(value: float) -> float | None:
    """Return None for NaN."""
    return None if np.isnan(value) else float(value)
