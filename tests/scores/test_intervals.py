"""Do the intervals hold what a dictionary would score on other images of the same classes?"""

import numpy as np

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.names import INTERVAL, SCORES
from cladescope.scores.halves import halve
from cladescope.scores.held_out import Folds
from cladescope.scores.passes import Scorer
from cladescope.scores.relations import contained_latents
from cladescope.scores.spec import ScoreSpec
from cladescope.scores.splitting import split_halves
from cladescope.taxonomy.taxonomy import Taxonomy, taxonomy_from_parents
from cladescope.taxonomy.tree import Tree

N_LATENTS, N_CLASSES, OF_A_CLASS = 40, 64, 24
LABELS = np.repeat(np.arange(N_CLASSES), OF_A_CLASS)
SPEC = ScoreSpec(top_n=8, cutoffs=(8, 16, 32, 64), matched_latents=16, bootstrap_draws=50)
DICTIONARIES, STUDIES = 4, 50


def halving_tree() -> Taxonomy:
    """Two nodes under each node, down to 64 classes."""
    nodes = [f"{depth}-{i}" for depth in range(7) for i in range(2**depth)]
    parents = {node: [] for node in nodes[:1]}
    for node in nodes[1:]:
        depth, i = map(int, node.split("-"))
        parents[node] = [f"{depth - 1}-{i // 2}"]
    return taxonomy_from_parents([f"6-{i}" for i in range(64)], parents)


def test_intervals_cover_in_200_studies() -> None:
    """Each study has images of its own; a dictionary's mean over its studies is the truth."""
    tree = Tree.of(halving_tree())
    tables, folds = tree.pair_tables(), Folds.of(tree, 1, seed=0)
    names = [name for name, score in SCORES.items() if score.interval]
    covered = []
    for number in range(DICTIONARIES):
        random = np.random.default_rng(number)
        # How often and how strongly each latent fires on images of each class.
        rate = random.uniform(0.01, 0.05, (N_LATENTS, 1)) * np.ones(N_CLASSES)
        strength = np.full((N_LATENTS, N_CLASSES), 0.2)
        for latent, node in enumerate(random.choice(np.flatnonzero(tree.kind < 2), N_LATENTS)):
            own = tree.covers[:, node]
            rate[latent, own] = random.uniform(0.3, 0.95, own.sum())
            strength[latent, own] = random.uniform(0.2, 1.2, own.sum())
        studies = []
        for study in range(STUDIES):
            random = np.random.default_rng((number, study))
            fires = random.random((len(LABELS), N_LATENTS)) < rate[:, LABELS].T
            image, latent = np.nonzero(fires)
            noise = np.abs(random.standard_normal(len(image)))
            activation = (strength[latent, LABELS[image]] + noise).astype(np.float32)
            codes = Codes(image, latent, activation, len(LABELS), N_LATENTS)
            parts = split_halves(LABELS, study)
            halves = halve(strongest_first(codes, study), LABELS, N_CLASSES, SPEC.top_n, parts)
            scorer = Scorer(halves, tree, tables, SPEC, contained_latents(halves.score))
            observed = scorer.score(halves, np.zeros(len(halves.scored), bool), folds)
            ends = scorer.intervals(observed)
            studies.append(
                [[observed.means[n], *(ends[f"{n}{end}"] for end in INTERVAL)] for n in names]
            )
        value, low, high = np.array(studies).transpose(2, 0, 1)
        covered.append((low <= value.mean(0)) & (value.mean(0) <= high))
    coverage = dict(zip(names, np.concatenate(covered).mean(0).tolist(), strict=True))
    assert all(0.92 <= share <= 0.98 for share in coverage.values()), coverage
