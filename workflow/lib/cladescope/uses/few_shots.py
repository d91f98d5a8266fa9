"""Few shots: the class, family or domain whose mean example an image is nearest to, by cosine.

Examples are of the half that is learnt from, images of the other. An image that is as near to
several means is each of them with the same probability.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from cladescope.scores.held_out import Folds
from cladescope.scores.probes import class_levels
from cladescope.scores.splitting import places_in_group
from cladescope.uses.rows import DECIMALS, Rows, sums, unit
from cladescope.uses.table import (
    ACCURACY,
    AUROC,
    CHANCE,
    FEW_SHOTS,
    LEVELS,
    NODE,
    TRANSFER,
    Images,
    Measured,
)

BLOCK_IMAGES = 4096
"""Images that are compared with all classes at a time."""
_STREAM = 12


@dataclass(frozen=True)
class Shots:
    """How many examples, and how often they are drawn."""

    examples: tuple[int, ...]
    """Numbers of examples of a class; the larger ones have those of the smaller ones among them."""
    draws: int
    seed: int


def few_shots(rows: Rows, images: Images, shots: Shots) -> Iterator[Measured]:
    """Tell leaves, families and domains apart by the mean of n examples of each, at length 1.

    Yields, for each level, draw and n, the recall of each group of classes; their mean is the
    balanced accuracy. Groups without images in either half are left out; all are NaN where one of
    the others has fewer than n images to learn from. Chance is one over the number of groups.
    """
    rows, levels = unit(rows), class_levels(images.tree)
    for level in LEVELS:
        member = levels[level][images.labels]
        n_groups, node = int(levels[level].max()) + 1, images.common(levels[level])
        there = _present(member, images, n_groups)
        chance = np.where(there, 1 / max(there.sum(), 1), np.nan)
        learnt = np.where(images.learnt & there[member], member, -1)
        tested = np.flatnonzero(images.tested & there[member])
        for draw, n, means in _examples(rows, learnt, n_groups, shots):
            recall = np.full(n_groups, np.nan)
            if np.bincount(learnt[learnt >= 0], minlength=n_groups)[there].min(initial=n) >= n:
                truth = (np.cumsum(there) - 1)[member]
                towards, right = unit(means[there]).T, np.zeros(there.sum())
                for block in _blocks(tested):
                    guess = _guesses(rows[block] @ towards)
                    np.add.at(right, truth[block], guess[np.arange(len(block)), truth[block]])
                recall[there] = right / np.bincount(truth[tested])
            yield Measured(FEW_SHOTS, ACCURACY, level, node, recall, chance, n, draw)


def transfer(rows: Rows, images: Images, shots: Shots) -> Iterator[Measured]:
    """Learn each internal node from some of its classes and find images of its others.

    A draw takes half of the node's classes and half of the others (as `scores/held_out.py` does),
    and n examples of each. Images are ranked by x · (a − b), a being the mean of the seen class
    means of the node and b that of the other seen classes: by how much nearer a is to x than b,
    but for a constant.

    Yields, for each draw and n, the AUROC of each internal node among images of the classes that
    it was not learnt from; NaN where none of a kind are seen, or none are left. For classes of
    the node drawn at random it is a half on average: nothing tells them from the others.
    """
    rows, tree, n_classes = unit(rows), images.tree, len(images.tree.covers)
    there = _present(images.labels, images, n_classes)
    learnt = np.where(images.learnt & there[images.labels], images.labels, -1)
    tested = np.flatnonzero(images.tested & there[images.labels])
    member, label = tree.covers[:, tree.internal], images.labels[tested]
    folds = Folds.of(tree, shots.draws, shots.seed)
    seen = np.zeros((shots.draws, n_classes, folds.n_nodes), bool)
    for number in range(folds.n_nodes):
        seen[:, :, number] = folds.seen_classes(number).T
    least = np.bincount(learnt[learnt >= 0], minlength=n_classes)[there].min(initial=len(learnt))
    chance = np.full(folds.n_nodes, CHANCE)
    for draw, n, means in _examples(rows, learnt, n_classes, shots):
        found = np.full(folds.n_nodes, np.nan)
        if least >= n:
            known = seen[draw] & there[:, None]
            sides = [known & part for part in (member, ~member)]
            inside, outside = (side / np.maximum(side.sum(0), 1) for side in sides)
            towards = (means.T / n) @ (inside - outside)
            score = np.concatenate([rows[block] @ towards for block in _blocks(tested)])
            for v in np.flatnonzero(sides[0].any(0) & sides[1].any(0)):
                rest = ~seen[draw][label, v]
                found[v] = auroc(np.round(score[rest, v], DECIMALS), member[label[rest], v])
        yield Measured(TRANSFER, AUROC, NODE, tree.node[tree.internal], found, chance, n, draw)


def auroc(score: Float[np.ndarray, " images"], truth: Bool[np.ndarray, " images"]) -> float:
    """Return the share of pairs of a member and another that are in order; ties are half in order.

    NaN without one of either.

    Examples
    --------
    >>> auroc(np.array([3.0, 1.0, 1.0]), np.array([True, True, False]))
    0.75
    """
    n_members = int(truth.sum())
    if not 0 < n_members < len(truth):
        return np.nan
    wins = rankdata(score)[truth].sum() - n_members * (n_members + 1) / 2
    return float(wins / (n_members * (len(truth) - n_members)))


def _present(
    member: Int[np.ndarray, " images"], images: Images, n: int
) -> Bool[np.ndarray, " groups"]:
    """Say which groups have images in both halves."""
    halves = (images.learnt, images.tested)
    return np.all([np.bincount(member[half], minlength=n) > 0 for half in halves], axis=0)


def _examples(
    rows: Rows, member: Int[np.ndarray, " images"], n_groups: int, shots: Shots
) -> Iterator[tuple[int, int, Float[np.ndarray, "groups columns"]]]:
    """Yield draw, number of examples and the sum of the examples of each group."""
    for draw in range(shots.draws):
        place = places_in_group(member, np.random.default_rng((shots.seed, _STREAM, draw)))
        for n in shots.examples:
            yield draw, n, sums(rows, np.where(place < n, member, -1), n_groups)


def _blocks(images: Int[np.ndarray, " images"]) -> list[np.ndarray]:
    return np.array_split(images, max(1, -(-len(images) // BLOCK_IMAGES)))


def _guesses(cosine: Float[np.ndarray, "images groups"]) -> Float[np.ndarray, "images groups"]:
    """Return the probability that an image is taken for one of each group."""
    cosine = np.round(cosine, DECIMALS)
    best = cosine == cosine.max(1, keepdims=True)
    return best / best.sum(1, keepdims=True)
