"""How well do a few latents together say that an image is under a node?

Feature-based matching by pursuit (FBMP; arXiv 2606.24716): a node that one latent does not hold
may be held by several, each for a part of its classes.
"""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.names import COALITION_SIZES
from cladescope.scores.alignment import MCC_SLACK
from cladescope.scores.halves import Firings, Halves
from cladescope.taxonomy.tree import Tree

_BETA = 0.5
"""Of the F measure that latents are chosen by: precision counts more than recall."""


class Coalitions(NamedTuple):
    """The latents that say together that an image is under a node, and how well."""

    f1: np.ndarray
    """float64 (n_internal, len(COALITION_SIZES)), 0 to 1; NaN for a node that has no image in a
    half."""
    latents: np.ndarray
    """What `pursue` returns."""


def coalitions(halves: Halves, tree: Tree) -> Coalitions:
    """F1 of "any latent of the coalition fires" as a sign of each internal node.

    On the choosing half, up to n times: take the latent with the largest F_0.5 of the node's images
    that none taken so far fires on (ties: the first), and stop when the F1 of all images that the
    coalition fires on no longer rises. The F1 that is reported is the scoring half's. It rises
    with the node's share of the images, whatever the latents do: compare it with that of a
    dictionary of random directions.

    Examples
    --------
    One latent fires on the images of a, one on those of b: of node p each is half.

    >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
    >>> from cladescope.codes.codes import Codes
    >>> from cladescope.scores.halves import halve
    >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]}
    >>> tree = Tree.of(taxonomy_from_parents([*"abcd"], parents))
    >>> codes = Codes(np.arange(2), np.arange(2), np.ones(2, np.float32), n_images=4, width=2)
    >>> found = coalitions(halve(codes, np.arange(4), n_classes=4, top_n=1), tree)
    >>> found.f1.round(3).tolist(), found.latents[0].tolist()
    ([[0.667, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], [0, 1, -1, -1, -1])
    """
    sides = (halves.choose, halves.score)
    members = [_members(half, tree) for half in sides]
    taken = pursue(halves, tree)
    found = _f1(_firings(halves.score), members[1], taken, np.array(COALITION_SIZES))
    known = np.all([np.diff(start) > 0 for start, _ in members], axis=0)
    return Coalitions(np.where(known[:, None], found, np.nan), taken)


def pursue(halves: Halves, tree: Tree) -> np.ndarray:
    """Choose the coalition of each internal node, as `coalitions` says.

    Returns
    -------
    int32 (n_internal, max(COALITION_SIZES)): positions among the scored latents, in the order in
    which they were taken; -1 for none.
    """
    half = halves.choose
    members = _members(half, tree)
    return _pursue(_firings(half), _by_image(half), members, max(COALITION_SIZES))


def _firings(half: Firings) -> tuple[np.ndarray, np.ndarray, int]:
    """List the images of each latent: starts, images; and how many images there are."""
    return half.start, half.image, len(half.labels)


def _by_image(half: Firings) -> tuple[np.ndarray, np.ndarray]:
    """List the latents that fire on each image: starts, latents."""
    order = np.argsort(half.image, kind="stable")
    start = np.searchsorted(half.image[order], np.arange(len(half.labels) + 1))
    latent = np.repeat(np.arange(len(half.n_firing), dtype=np.int32), half.n_firing)
    return start, latent[order]


def _members(half: Firings, tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """List the images under each internal node: starts, images."""
    images = [np.flatnonzero(tree.covers[half.labels, node]) for node in tree.internal]
    return np.cumsum([0, *map(len, images)]), np.concatenate([np.empty(0, np.int64), *images])


@compiled
def _pursue(
    firings: tuple[np.ndarray, np.ndarray, int],
    by_image: tuple[np.ndarray, np.ndarray],
    members: tuple[np.ndarray, np.ndarray],
    size: int,
) -> np.ndarray:
    """Return the latents of each node's coalition in the order they were taken; -1 for none."""
    start, image, n_images = firings
    first, latent = by_image
    member_start, member = members
    n_nodes, n_latents = len(member_start) - 1, len(start) - 1
    taken = np.full((n_nodes, size), -1, np.int32)
    hits, touched = np.zeros(n_latents, np.int64), np.empty(n_latents + 1, np.int32)
    # Images of the node, and those that the coalition fires on.
    is_member, fires = np.zeros(n_images, np.bool_), np.zeros(n_images, np.bool_)
    for v in range(n_nodes):
        images = member[member_start[v] : member_start[v + 1]]
        for i in images:
            is_member[i] = True
        n_fired, n_right, f1 = 0, 0, 0.0
        for step in range(size):
            n_touched = 0
            for i in images:
                if not fires[i]:
                    for e in range(first[i], first[i + 1]):
                        j = latent[e]
                        touched[n_touched] = j
                        n_touched += hits[j] == 0
                        hits[j] += 1
            best, best_f = -1, 0.0
            for t in range(n_touched):
                j = touched[t]
                left = _BETA**2 * (len(images) - n_right)
                f = (1 + _BETA**2) * hits[j] / (left + start[j + 1] - start[j])
                if f > best_f + MCC_SLACK or (f > best_f - MCC_SLACK and j < best):
                    best, best_f = j, f
                hits[j] = 0
            if best < 0:
                break
            added, right = 0, 0
            for e in range(start[best], start[best + 1]):
                if not fires[image[e]]:
                    added += 1
                    right += is_member[image[e]]
            rises = 2 * (n_right + right) / (n_fired + added + len(images))
            if rises <= f1 + MCC_SLACK:
                break
            taken[v, step] = best
            n_fired, n_right, f1 = n_fired + added, n_right + right, rises
            for e in range(start[best], start[best + 1]):
                fires[image[e]] = True
        for i in images:
            is_member[i] = False
        fires[:] = False
    return taken


@compiled
def _f1(
    firings: tuple[np.ndarray, np.ndarray, int],
    members: tuple[np.ndarray, np.ndarray],
    taken: np.ndarray,
    sizes: np.ndarray,
) -> np.ndarray:
    """Return the F1 of the first latents of each coalition, for each of these numbers."""
    start, image, n_images = firings
    member_start, member = members
    result = np.zeros((len(taken), len(sizes)))
    is_member, fires = np.zeros(n_images, np.bool_), np.zeros(n_images, np.bool_)
    for v in range(len(taken)):
        images = member[member_start[v] : member_start[v + 1]]
        for i in images:
            is_member[i] = True
        n_fired, n_right, done = 0, 0, 0
        for s in range(len(sizes)):
            while done < sizes[s] and taken[v, done] >= 0:
                for e in range(start[taken[v, done]], start[taken[v, done] + 1]):
                    i = image[e]
                    if not fires[i]:
                        fires[i] = True
                        n_fired += 1
                        n_right += is_member[i]
                done += 1
            if n_fired + len(images) > 0:
                result[v, s] = 2 * n_right / (n_fired + len(images))
        for i in images:
            is_member[i] = False
        fires[:] = False
    return result
