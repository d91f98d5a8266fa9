"""What is linearly there without a dictionary: probes of the activations at levels of the taxonomy.

Ridge regression on the classes (closed form) and nearest neighbours, fitted on the training split.
The ridge score of a node is the sum of its classes' scores, which is the ridge regression on the
node itself, so one fit serves every level and every node.
"""

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from cladescope.codes.linear import Ridge, nearest, unit_rows, vote
from cladescope.files import write_aside
from cladescope.scores.alignment import MCC_SLACK
from cladescope.scores.held_out import N_FOLDS, NULL_FOLDS, Folds, mean_over
from cladescope.scores.nulls import leaf_permutations
from cladescope.scores.passes import or_none
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import INTERNAL, Tree

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Ridge penalties tried, as shares of the mean eigenvalue of the covariance."""
WITHIN_SHARE = 1e-2
"""Added to the scatter within classes before it is inverted, as a share of its mean eigenvalue."""
CUT_IMAGES = 10_000
NULL_DRAWS = 10
LEVEL_SCHEMA = pa.schema(
    {
        "level": pa.string(),
        "probe": pa.string(),
        "n_groups": pa.int32(),
        "accuracy": pa.float64(),
        "chance": pa.float64(),
        "n_train": pa.int32(),
    }
)
NODE_SCHEMA = pa.schema(
    {
        "wnid": pa.string(),
        "name": pa.string(),
        "n_leaves": pa.int32(),
        "probe_mcc": pa.float64(),
        "probe_auroc": pa.float64(),
        "probe_held_out": pa.float64(),
        "probe_held_out_null_permuted": pa.float64(),
    }
)


@dataclass(frozen=True)
class ProbeSpec:
    """How the probes are fitted."""

    images: int = 50_000
    """Training images used, at random; all if there are fewer."""
    neighbours: int = 10
    """Neighbours that vote, by cosine."""
    seed: int = 0
    """Of the sample, and of what of it chooses the penalty."""


@dataclass(frozen=True, eq=False)
class Split:
    """Activations of a split, averaged over the tokens, and the class of each image."""

    x: Float[np.ndarray, "images d"]
    labels: Int[np.ndarray, " images"]
    groups: Int[np.ndarray, " images"] | None = None
    """From 0; images of a group are held out together. None: each for itself."""


def probe_layer(
    train: Split,
    test: Split,
    taxonomy: Taxonomy,
    spec: ProbeSpec,
    levels: str | Path,
    nodes: str | Path,
) -> None:
    """Probe one layer; write accuracies per level and MCC and AUROC per internal node (Parquet)."""
    tree = Tree.of(taxonomy)
    random = np.random.default_rng(spec.seed)
    kept = np.sort(random.permutation(len(train.labels))[: spec.images])
    groups = None if train.groups is None else train.groups[kept]
    train = Split(train.x[kept].astype(np.float32), train.labels[kept], groups)
    mean = train.x.mean(0)
    scale = float(np.sqrt(np.square(train.x - mean).mean())) or 1.0
    train, test = (replace(s, x=(s.x.astype(np.float32) - mean) / scale) for s in (train, test))
    fitted = _ridge(train, test.x, len(taxonomy.leaves), random)
    neighbours, _ = nearest(unit_rows(test.x), unit_rows(train.x), spec.neighbours)
    rows = []
    for level, group in class_levels(tree).items():
        truth = group[test.labels]
        membership = np.eye(group.max() + 1)[group]
        guesses = {
            "linear": (fitted.test @ membership).argmax(1),
            "neighbours": vote(group[train.labels][neighbours]),
        }
        for probe, guess in guesses.items():
            rows.append(
                {
                    "level": level,
                    "probe": probe,
                    "n_groups": len(np.unique(group)),
                    "accuracy": float((guess == truth).mean()),
                    "chance": float(np.bincount(truth).max() / len(truth)),
                    "n_train": len(train.labels),
                }
            )
    inner = tree.internal
    quality = [_node_quality(fitted, train, test, tree.covers[:, node]) for node in inner]
    ceiling, null = _held_out(train, test, tree, spec.seed)
    table = {
        "wnid": np.array(taxonomy.nodes, object)[tree.node[inner]],
        "name": np.array(taxonomy.names, object)[tree.node[inner]],
        "n_leaves": tree.n_leaves[inner],
        "probe_mcc": [mcc for mcc, _ in quality],
        "probe_auroc": [auroc for _, auroc in quality],
        "probe_held_out": [or_none(score) for score in ceiling],
        "probe_held_out_null_permuted": [or_none(score) for score in null],
    }
    for path, content in (
        (levels, pa.Table.from_pylist(rows, LEVEL_SCHEMA)),
        (nodes, pa.table([pa.array(table[f.name], f.type) for f in NODE_SCHEMA], NODE_SCHEMA)),
    ):
        with write_aside(path) as aside:
            pq.write_table(content, aside, compression="zstd")


def class_levels(tree: Tree) -> dict[str, Int[np.ndarray, " classes"]]:
    """Group the classes at three levels; each class is in one group, numbered from 0.

    Leaf: the classes. Family: the deepest internal node above the class. Domain: the largest
    internal node above it with at most half of all classes. A class without such a node is a group
    of its own.
    """
    n_classes = len(tree.covers)
    own = -1 - np.arange(n_classes)
    above = tree.covers & (tree.kind == INTERNAL)
    family = np.where(above.any(1), above.argmax(1), own)
    size = np.where(above & (tree.n_leaves * 2 <= n_classes), tree.n_leaves, 0)
    domain = np.where(size.any(1), size.argmax(1), own)
    return {
        name: np.unique(group, return_inverse=True)[1]
        for name, group in (("leaf", np.arange(n_classes)), ("family", family), ("domain", domain))
    }


@dataclass(frozen=True, eq=False)
class _Scores:
    """Ridge scores of each class."""

    train: Float[np.ndarray, "images classes"]
    test: Float[np.ndarray, "images classes"]


def _ridge(
    train: Split, test: Float[np.ndarray, "images d"], n_classes: int, random: np.random.Generator
) -> _Scores:
    """Fit the classes; a fifth of the images or groups, at random, chooses the penalty."""
    held = penalty_images(train, random)
    best, penalty = -1.0, PENALTIES[0]
    for candidate in PENALTIES if held.any() and not held.all() else ():
        probe = Ridge.fit(train.x[~held], train.labels[~held], n_classes, candidate)
        right = probe.scores(train.x[held]).argmax(1) == train.labels[held]
        if right.mean() > best:
            best, penalty = float(right.mean()), candidate
    probe = Ridge.fit(train.x, train.labels, n_classes, penalty)
    return _Scores(probe.scores(train.x), probe.scores(test))


def penalty_images(train: Split, random: np.random.Generator) -> Bool[np.ndarray, " images"]:
    """Draw a fifth of the images; where they have groups, a fifth of these, one at least."""
    if train.groups is None:
        return random.random(len(train.labels)) < 0.2
    present = np.unique(train.groups)
    return np.isin(train.groups, random.permutation(present)[: max(1, len(present) // 5)])


def _node_quality(
    scores: _Scores, train: Split, test: Split, classes: np.ndarray
) -> tuple[float | None, float | None]:
    """MCC on the test images at the cut-off that is best on the training ones, and the AUROC."""
    truth = classes[test.labels]
    if truth.all() or not truth.any():
        return None, None
    cut = _best_cut(scores.train @ classes, classes[train.labels])
    score = scores.test @ classes
    guess = score >= cut
    _, value, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[value]  # the mean rank of equal scores
    n_under = int(truth.sum())
    wins = rank[truth].sum() - n_under * (n_under + 1) / 2
    return _mcc(guess, truth), float(wins / (n_under * (len(truth) - n_under)))


def _held_out(
    train: Split, test: Split, tree: Tree, seed: int
) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Learn each internal node from half of its classes, score it on the other half.

    Folds as in `held_out.py`. With y the activations whitened by the scatter within all classes
    and m_c the mean of a class, the direction is that of Fisher's discriminant, the mean of m_c
    over the seen classes of the node minus that over the others that are seen; its cut-off is best
    on at most `CUT_IMAGES` training images of the seen classes. The MCC is that on the evaluation
    images of the other classes, averaged over the folds.

    Returns
    -------
    The scores, and their mean over `NULL_DRAWS` permutations of the leaves; NaN as `held_out`.
    """
    n_classes = len(tree.covers)
    size = np.bincount(train.labels, minlength=n_classes)
    means = np.zeros((n_classes, train.x.shape[1]))
    np.add.at(means, train.labels, train.x.astype(np.float64))
    means /= np.maximum(size, 1)[:, None]
    within = train.x - means[train.labels]
    scatter = within.T @ within / len(within)
    ridge = WITHIN_SHARE * np.trace(scatter) / len(scatter) or 1.0
    towards = np.linalg.solve(scatter + ridge * np.eye(len(scatter)), means.T).astype(np.float32)
    chosen = slice(None, None, -(-len(train.labels) // CUT_IMAGES))
    sides = [
        (s.x[part] @ towards, s.labels[part]) for s, part in ((train, chosen), (test, slice(None)))
    ]

    def score(
        folds: Folds, permutation: Int[np.ndarray, " classes"]
    ) -> Float[np.ndarray, " nodes"]:
        (x, labels), (x_test, labels_test) = ((x, permutation[labels]) for x, labels in sides)
        found = np.full((folds.n_nodes, folds.first.shape[1]), np.nan)
        for v, node in enumerate(tree.internal):
            seen, member = folds.seen_classes(v), tree.covers[:, node]
            weight = _contrast(seen, member, size[np.argsort(permutation)] > 0)[permutation]
            for f, (a, b) in enumerate(zip((x @ weight).T, (x_test @ weight).T, strict=True)):
                learnt, rest = seen[labels, f], ~seen[labels_test, f]
                truth, truth_test = member[labels[learnt]], member[labels_test[rest]]
                if min(len(np.unique(truth)), len(np.unique(truth_test))) == 2:
                    found[v, f] = _mcc(b[rest] >= _best_cut(a[learnt], truth), truth_test)
        return mean_over(found, 1)

    folds = Folds.of(tree, N_FOLDS, seed)
    permutations = islice(leaf_permutations(tree, seed), NULL_DRAWS)
    null = [score(folds.some(NULL_FOLDS), permutation) for permutation in permutations]
    return score(folds, np.arange(n_classes)), mean_over(np.array(null), 0)


def _contrast(
    seen: Bool[np.ndarray, "classes folds"],
    member: Bool[np.ndarray, " classes"],
    present: Bool[np.ndarray, " classes"],
) -> Float[np.ndarray, "classes folds"]:
    """Weights of the class means: the mean over seen members minus that over seen others."""
    weight = np.zeros(seen.shape, np.float32)
    for sign, part in ((1, member), (-1, ~member)):
        chosen = seen & (part & present)[:, None]
        weight += sign * chosen / np.maximum(chosen.sum(0), 1)
    return weight


def _mcc(guess: Bool[np.ndarray, " images"], truth: Bool[np.ndarray, " images"]) -> float:
    """MCC, 0 for a guess that is always the same."""
    constant = guess.all() or not guess.any()
    return 0.0 if constant else float(np.corrcoef(guess, truth)[0, 1])


def _best_cut(score: np.ndarray, truth: np.ndarray) -> float:
    """Return the score from which on images are called members, for the largest MCC."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    n, size = len(score), int(hits[-1])
    r = np.arange(1, n + 1)
    scale = np.sqrt(r * (n - r) * float(size * (n - size)))
    mcc = np.divide(n * hits - r * size, scale, out=np.zeros(n), where=scale > 0)
    # A cut between equal scores is none.
    mcc[:-1][score[order][1:] == score[order][:-1]] = -1
    return float(score[order[(mcc >= mcc.max() - MCC_SLACK).argmax()]])
