"""Few shots: the class, family or domain whose mean example an image is nearest to, by cosine.

Examples are of the half that is learnt from, images of the other. An image that is as near to
several means is each of them with the same probability.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from cladescope.scores.held_out import Folds
from cladescope.scores.probes import class_levels
from cladescope.uses.rows import DECIMALS, Rows, places_in_group, sums, unit
from cladescope.uses.table import (
    ACCURACY,
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
    """Learn each internal node from some of its classes and tell images of its others.

    A draw takes half of the node's classes and half of the others (as `scores/held_out.py` does),
    and n examples of each. An image is of the node if it is nearer, by cosine, to the mean of the
    node's class means than to that of the others.

    Yields, for each draw and n, the balanced accuracy of each internal node on images of the
    classes that it was not learnt from, every class counting the same. Where the node's
    classes are drawn at random it is a half on average: nothing tells them from the others.
    """
    rows, tree, n_classes = unit(rows), images.tree, len(images.tree.covers)
    there = _present(images.labels, images, n_classes)
    learnt = np.where(images.learnt & there[images.labels], images.labels, -1)
    tested = np.flatnonzero(images.tested & there[images.labels])
    size = np.bincount(images.labels[tested], minlength=n_classes)
    member = tree.covers[:, tree.internal]
    folds = Folds.of(tree, shots.draws, shots.seed)
    seen = np.array([folds.seen_classes(v) for v in range(folds.n_nodes)]).transpose(2, 1, 0)
    least = np.bincount(learnt[learnt >= 0], minlength=n_classes)[there].min(initial=len(learnt))
    chance = np.full(folds.n_nodes, CHANCE)
    for draw, n, means in _examples(rows, learnt, n_classes, shots):
        accuracy = np.full(folds.n_nodes, np.nan)
        if least >= n:
            known, rest = (part & there[:, None] for part in (seen[draw], ~seen[draw]))
            gram, taken = means @ means.T, np.zeros(member.shape)
            for block in _blocks(tested):
                near = rows[block] @ means.T
                inside, outside = (_towards(near, gram, known & p) for p in (member, ~member))
                called = (np.sign(np.round(inside - outside, DECIMALS)) + 1) / 2
                taken += sums(called, images.labels[block], n_classes)
            share = taken / np.maximum(size, 1)[:, None]
            recall = _mean_where(share, rest & member)
            accuracy = (recall + _mean_where(1 - share, rest & ~member)) / 2
            accuracy[~((known & member).any(0) & (known & ~member).any(0))] = np.nan
        yield Measured(
            TRANSFER, ACCURACY, NODE, tree.node[tree.internal], accuracy, chance, n, draw
        )


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


def _towards(
    near: Float[np.ndarray, "images classes"],
    gram: Float[np.ndarray, "classes classes"],
    chosen: Bool[np.ndarray, "classes nodes"],
) -> Float[np.ndarray, "images nodes"]:
    """Return the cosines of images with the mean of each node's chosen class means.

    Parameters
    ----------
    near, gram
        Products of the images' unit rows with the class means, and of these with one another.
    """
    length = np.sqrt(np.maximum(np.einsum("cv,cv->v", chosen, gram @ chosen), 0))
    return near @ chosen / np.where(length > 0, length, 1.0)


def _mean_where(
    value: Float[np.ndarray, "classes nodes"], chosen: Bool[np.ndarray, "classes nodes"]
) -> Float[np.ndarray, " nodes"]:
    size = chosen.sum(0)
    return np.divide((value * chosen).sum(0), size, out=np.full(len(size), np.nan), where=size > 0)
