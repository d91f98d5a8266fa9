"""Does a latent that was chosen on some classes of a node fire on the node's other classes?

A latent for one class cannot: it is chosen for the classes that it knows, and measured on others.
For each internal node v and fold, L(v) is split at random into seen and held-out classes, and so
are the classes outside of v. Of all scored latents and cut-offs the one with the largest MCC (see
`alignment.py`) on the seen classes' images of the choosing half is taken, and its MCC with v on
the held-out classes' images of the scoring half is the node's score: 0 on average where the
classes sit in the tree at random.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.alignment import MCC_SLACK
from cladescope.scores.counts import CutCounts
from cladescope.scores.halves import Firings, Halves
from cladescope.scores.nulls import Stream
from cladescope.taxonomy.tree import Tree

N_FOLDS = 20
NULL_FOLDS = 2
"""Folds of a permuted draw: its mean is the same, and its spread somewhat larger."""
LARGE = 4
"""Classes from which on a node is large."""


@dataclass(frozen=True, eq=False)
class Folds:
    """Random halves of all classes and, apart from these, of the classes under each node."""

    first: np.ndarray
    """int8 (n_classes, n_folds): 1 if a class is seen where it lies outside of a node."""
    start: np.ndarray
    """int64 (n_classes + 1,): position of each class's first node in `node`, and the end."""
    node: np.ndarray
    """int32 (n_pairs,): the internal nodes at or above each class, counted among themselves."""
    seen: np.ndarray
    """int8 (n_pairs, n_folds): 1 if the class is seen as one of that node."""
    n_nodes: int

    @classmethod
    def of(cls, tree: Tree, n_folds: int, seed: int) -> "Folds":
        """Draw the folds; of an odd number of classes the smaller part is seen.

        Examples
        --------
        >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
        >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"]}
        >>> folds = Folds.of(Tree.of(taxonomy_from_parents([*"abc"], parents)), 3, seed=0)
        >>> folds.first.sum(0).tolist(), folds.seen.sum(0).tolist()
        ([1, 1, 1], [1, 1, 1])
        """
        random = np.random.default_rng((seed, Stream.FOLDS))
        covers = tree.covers[:, tree.internal]
        first = _smaller_half(random.random((len(covers), n_folds)))
        label, node = np.nonzero(covers)
        seen = np.zeros((len(label), n_folds), np.int8)
        for number in range(covers.shape[1]):
            pairs = np.flatnonzero(node == number)
            seen[pairs] = _smaller_half(random.random((len(pairs), n_folds)))
        start = np.searchsorted(label, np.arange(len(covers) + 1)).astype(np.int64)
        return cls(first, start, node.astype(np.int32), seen, covers.shape[1])

    def seen_classes(self, node: int) -> np.ndarray:
        """Return which classes are seen for an internal node: bool (n_classes, n_folds)."""
        pairs = np.flatnonzero(self.node == node)
        seen = self.first > 0
        seen[np.searchsorted(self.start, pairs, side="right") - 1] = self.seen[pairs] > 0
        return seen

    def some(self, n_folds: int) -> "Folds":
        """Take the first folds only."""
        return replace(self, first=self.first[:, :n_folds], seen=self.seen[:, :n_folds].copy())

    def sizes(self, class_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count the images of each node's seen classes, and of all that are seen beside it.

        Parameters
        ----------
        class_size
            Int (n_classes,): images of each class.

        Returns
        -------
        Two float64 (n_nodes, n_folds): images under the node, all images.
        """
        label = np.repeat(np.arange(len(class_size)), np.diff(self.start))
        images = class_size[label, None]
        under, doubled = np.zeros((2, self.n_nodes, self.seen.shape[1]))
        np.add.at(under, self.node, images * self.seen)
        np.add.at(doubled, self.node, images * self.first[label])
        return under, class_size @ self.first - doubled + under

    def others(self) -> "Folds":
        """Swap the seen classes and the held-out ones."""
        return replace(self, first=1 - self.first, seen=1 - self.seen)


class Half(NamedTuple):
    """The classes of folds on which a latent is chosen or measured, as loops take them."""

    start: np.ndarray
    node: np.ndarray
    first: np.ndarray
    seen: np.ndarray
    """These four as in `Folds`."""
    under: np.ndarray
    every: np.ndarray
    """float64 (n_nodes, n_folds): images of these classes, under the node and all."""

    @classmethod
    def of(cls, folds: Folds, class_size: np.ndarray) -> "Half":
        """Take the seen classes, of which there are so many images each."""
        return cls(folds.start, folds.node, folds.first, folds.seen, *folds.sizes(class_size))

    @property
    def known(self) -> np.ndarray:
        """bool (n_nodes, n_folds): there are images both under the node and outside."""
        return (self.under > 0) & (self.under < self.every)


def held_out(
    halves: Halves,
    folds: Folds,
    cutoffs: tuple[int, ...],
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Choose a latent and a threshold on the seen classes, score them on the others.

    A threshold is the activation of the r-th image of the choosing half, for r in `cutoffs`, or
    any above 0; equal activations are on the same side of it. Ties of the MCC go to the first
    latent, then to the larger threshold.

    Parameters
    ----------
    allowed
        bool (n_scored, n_folds): the latents among which each fold chooses; None for all.

    Returns
    -------
    float64 (n_nodes, n_folds), −1 to 1: 0 if no latent fires on a seen class; NaN if the node or
    its outside has no image of a seen class, or none of a held-out one.

    Examples
    --------
    Classes a, b lie under p. The latent fires on both: whichever is seen, it fires on the other.
    The second one knows a alone: it is measured on b.

    >>> from cladescope.taxonomy.taxonomy import taxonomy_from_parents
    >>> from cladescope.codes.codes import Codes
    >>> from cladescope.scores.halves import halve
    >>> parents = {"r": [], "p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]}
    >>> tree = Tree.of(taxonomy_from_parents([*"abcd"], parents))
    >>> labels, folds = np.array([0, 0, 1, 1, 2, 2, 3, 3]), Folds.of(tree, 10, seed=0)
    >>> def score(image):
    ...     image, ones = np.array(image), np.ones(len(image), np.float32)
    ...     codes = Codes(image, np.zeros(len(image), int), ones, n_images=8, width=1)
    ...     found = held_out(halve(codes, labels, n_classes=4, top_n=1), folds, cutoffs=(1,))
    ...     return np.nanmean(found, 1).tolist()
    >>> score([0, 1, 2, 3]), score([0, 1])
    ([1.0, 0.0], [0.0, 0.0])
    """
    choose, score = halves.choose, halves.score
    if allowed is None:
        allowed = np.ones((len(halves.scored), folds.seen.shape[1]), np.bool_)
    seen = Half.of(folds, choose.class_size)
    latent, images = _choose(choose.cut_counts(cutoffs, tied=True), seen, allowed)
    rest = Half.of(folds.others(), score.class_size)
    firings = (score.start, score.image, score.activation, score.labels)
    found = _score(firings, rest, latent, _thresholds(choose, latent, images))
    return np.where(seen.known & rest.known, found, np.nan)


def mean_over(values: np.ndarray, axis: int) -> np.ndarray:
    """Average what is not missing along an axis; NaN where everything is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis) / known.sum(axis)


def random_subsets(n_latents: int, size: int, n_folds: int, seed: int) -> np.ndarray | None:
    """Draw so many latents for each fold: bool (n_latents, n_folds); None if there are fewer."""
    if n_latents < size:
        return None
    random = np.random.default_rng((seed, Stream.SUBSETS))
    return random.random((n_latents, n_folds)).argsort(0).argsort(0) < size


def _smaller_half(draws: np.ndarray) -> np.ndarray:
    """Mark the smaller half of the rows with the least draws, in each column: int8."""
    return (draws.argsort(0).argsort(0) < len(draws) // 2).astype(np.int8)


def _thresholds(choose: Firings, latent: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the activation of each latent's last image, or 0 where it is any that fires it."""
    start = choose.start[latent]
    cut = images < choose.start[latent + 1] - start
    last = np.where((latent >= 0) & cut, start + images - 1, -1)
    return np.append(choose.activation, np.float32(0))[last]


@compiled
def _choose(counts: CutCounts, half: Half, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best latent of each node and fold, or -1, and how many of its images are taken."""
    end, start, label, images = counts
    up_start, up_node, first, seen, under, every = half
    (n_nodes, n_folds), n_parts = under.shape, end.shape[1]
    latent, taken = (
        np.full((n_nodes, n_folds), -1, np.int32),
        np.zeros((n_nodes, n_folds), np.int64),
    )
    # Of the images so far, in each node: all; those of seen classes under it, and (times 2³²) these
    # less those under it that are seen as classes outside.
    n_images, hits_and_lead = np.zeros(n_nodes, np.int32), np.zeros(n_nodes, np.int64)
    adds, touched = np.empty(len(up_node), np.int64), np.empty(n_nodes + 1, np.int32)
    for f in range(n_folds):
        for c in range(len(first)):
            for u in range(up_start[c], up_start[c + 1]):
                adds[u] = seen[u, f] + (np.int64(seen[u, f] - first[c, f]) << 32)
        best = np.full(n_nodes, -np.inf)
        # No MCC is above hits / √(under · r), so that none is better while hits² ≤ r times this.
        bound = np.zeros(n_nodes)
        for j in np.flatnonzero(allowed[:, f]):
            n_touched, fired = 0, 0
            for p in range(n_parts):
                if end[j, p] == 0:
                    continue
                row = j * n_parts + p
                for e in range(start[row], start[row + 1]):
                    c, n = label[e], images[e]
                    fired += n * first[c, f]
                    for u in range(up_start[c], up_start[c + 1]):
                        v = up_node[u]
                        # Without a branch: whether a node is new is hard to foresee.
                        touched[n_touched] = v
                        n_touched += n_images[v] == 0
                        n_images[v] += n
                        hits_and_lead[v] += n * adds[u]
                for v in touched[:n_touched]:
                    hits, r = hits_and_lead[v] & 0xFFFFFFFF, fired + (hits_and_lead[v] >> 32)
                    if hits * hits > bound[v] * r:
                        mcc = _mcc(hits, r, under[v, f], every[v, f])
                        if mcc > best[v] + MCC_SLACK:
                            best[v], latent[v, f], taken[v, f] = mcc, j, end[j, p]
                            bound[v] = max(mcc, 0.0) ** 2 * under[v, f]
            for v in touched[:n_touched]:
                n_images[v], hits_and_lead[v] = 0, 0
    return latent, taken


@compiled
def _score(
    firings: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    half: Half,
    latent: np.ndarray,
    threshold: np.ndarray,
) -> np.ndarray:
    """Return the MCC of each node's and fold's latent."""
    start, image, activation, labels = firings
    up_start, up_node, first, seen, under, every = half
    n_nodes, n_folds = under.shape
    # For each node and class: the pair's position, or -1 outside of the node.
    pair = np.full((n_nodes, len(first)), -1, np.int64)
    for c in range(len(first)):
        for u in range(up_start[c], up_start[c + 1]):
            pair[up_node[u], c] = u
    result = np.zeros((n_nodes, n_folds))
    for v in range(n_nodes):
        for f in range(n_folds):
            j = latent[v, f]
            if j < 0:
                continue
            hits, r = 0, 0
            for i in range(start[j], start[j + 1]):
                if activation[i] < threshold[v, f]:
                    break
                c = labels[image[i]]
                u = pair[v, c]
                if u < 0:
                    r += first[c, f]
                elif seen[u, f]:
                    hits += 1
                    r += 1
            result[v, f] = _mcc(hits, r, under[v, f], every[v, f])
    return result


@compiled
def _mcc(hits: float, r: float, under: float, every: float) -> float:
    """Return the MCC of r chosen images, `hits` of them under a node that has `under` images."""
    square = r * (every - r) * under * (every - under)
    return (every * hits - r * under) / np.sqrt(square) if square > 0 else 0.0
