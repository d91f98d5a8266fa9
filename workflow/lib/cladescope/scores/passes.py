"""The passes of one dictionary: as observed, with permuted leaves, of other nulls, of resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cladescope.names import INTERVAL, PERMUTED, RANDOM, SCORES, SHUFFLED, with_null
from cladescope.scores.halves import Firings, Halves
from cladescope.scores.measure import Measured, averages, mean_of, measure, recovery
from cladescope.scores.nulls import Stream, random_images, shuffled_labels, summarise
from cladescope.scores.relations import (
    Edges,
    Relations,
    absorption,
    absorption_means,
    consistency,
    splitting,
)
from cladescope.scores.spec import ScoreSpec
from cladescope.taxonomy.tree import PairTables, Tree

NORMAL_95 = 1.96


class Result(NamedTuple):
    """All that one arrangement of the classes comes to."""

    found: Measured
    edges: Edges
    hierarchical: np.ndarray
    """bool (n_scored,)."""
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

    def score(self, halves: Halves, q_value: np.ndarray) -> Result:
        """Score the dictionary's firings, or the same with other labels."""
        found = self._measure(halves)
        edges = absorption(halves.score, found.alignment, self.tree, self.spec.mcc_threshold)
        hierarchical = (q_value < self.spec.fdr) & (found.columns["internal"] > 0)
        means = averages(found.columns) | self._of_all(halves, found, edges, hierarchical)
        return Result(found, edges, hierarchical, means)

    def _of_all(
        self, halves: Halves, found: Measured, edges: Edges, hierarchical: np.ndarray
    ) -> dict[str, float]:
        """Return the scores that are about the dictionary as a whole."""
        return {
            **self._recovery(found),
            "ontological_coverage": _covered_share(halves.score, hierarchical),
            "hierarchy_consistency": consistency(
                self.relations, found.alignment.best.node, self.tree
            ),
            **absorption_means(edges),
            "splitting": splitting(found.alignment, self.tree),
        }

    def means(self, halves: Halves) -> dict[str, float]:
        """Average the scores of other firings."""
        found = self._measure(halves)
        return averages(found.columns) | self._recovery(found)

    def intervals(self, observed: Result) -> dict[str, float | None]:
        """Bootstrap each score: images within their class and half, then latents.

        The interval is the score ± 1.96 standard deviations of the resampled scores. (Not their
        percentiles: a resample repeats images, which lowers heights whatever the latent.) What is
        about the dictionary as a whole keeps its latents, relations and hierarchical latents: only
        the images are resampled for it. Where images have groups, these are drawn anew, within
        their half; there are no intervals if a half is a single group.
        """
        random = np.random.default_rng((self.spec.seed, Stream.BOOTSTRAP))
        n_scored, resamples = len(self.halves.scored), []
        for _ in range(self.spec.bootstrap_draws if self.halves.can_resample else 0):
            halves = self.halves.changed(lambda half: half.resampled(random))
            found = self._measure(halves)
            edges = absorption(halves.score, found.alignment, self.tree, self.spec.mcc_threshold)
            latents = random.integers(max(n_scored, 1), size=n_scored)
            resamples.append(
                averages(found.columns, latents)
                | self._of_all(halves, found, edges, observed.hierarchical)
            )
        ends: dict[str, float | None] = {}
        for name in (name for name, score in SCORES.items() if score.nulls):
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
            drawn = [self.means(h) for h in draws_of(self.halves, draws, self.spec.seed)]
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
