"""Which images fire each latent, strongest first, in the two halves that scores are made of.

Whatever is chosen for a latent (its top class, its LCH, the node and the cut-off that it matches
best) is chosen on one half of the images, and how well the choice holds is measured on the other.
All classes have as many images in a half.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from cladescope.codes.codes import Codes
from cladescope.scores.counts import ClassCounts, CutCounts, count_between, count_first


@dataclass(frozen=True, eq=False)
class Firings:
    """The images of one half that fire each scored latent, latent by latent, strongest first."""

    start: np.ndarray
    """int64 (n_latents + 1,): position of each latent's first firing, and the end."""
    image: np.ndarray
    """int32 (n_firings,): position in the half's images."""
    activation: np.ndarray
    """float32 (n_firings,)."""
    labels: np.ndarray
    """int32 (n_images,): class of each image of the half."""
    n_classes: int
    groups: np.ndarray | None = None
    """int32 (n_images,): group of each image of the half, if images belong together."""
    unmoved: "tuple[Firings, np.ndarray] | None" = None
    """The firings before classes changed places, whose counts are these but for the labels, and
    int (n_classes,) each class's place."""

    @property
    def n_firing(self) -> np.ndarray:
        """int64 (n_latents,): images that fire each latent."""
        return np.diff(self.start)

    @cached_property
    def label(self) -> np.ndarray:
        """int32 (n_firings,): class of the image of each firing."""
        return self.labels[self.image]

    @cached_property
    def class_size(self) -> np.ndarray:
        """int64 (n_classes,): images of each class in the half."""
        return np.bincount(self.labels, minlength=self.n_classes)

    @cached_property
    def _by_class(self) -> np.ndarray:
        return np.argsort(self.labels, kind="stable")

    @cached_property
    def _counted(self) -> dict[tuple[object, ...], Any]:
        return {}

    def class_counts(self, limit: int | None = None) -> ClassCounts:
        """Count classes among the first `limit` images of each latent, or among all."""
        if self.unmoved is not None:
            before, place = self.unmoved
            return before.class_counts(limit).permuted(place)
        if (limit,) not in self._counted:
            most = len(self.labels) if limit is None else limit
            counts = count_first(self.start, self.image, self.labels, self.n_classes, most)
            self._counted[limit,] = counts
        return self._counted[limit,]

    def cut_counts(self, cutoffs: tuple[int, ...], *, tied: bool = False) -> CutCounts:
        """Count classes between the cut-offs; `tied`: equal activations are never cut apart."""
        if self.unmoved is not None:
            before, place = self.unmoved
            return before.cut_counts(cutoffs, tied=tied).permuted(place)
        if (cutoffs, tied) not in self._counted:
            self._counted[cutoffs, tied] = count_between(
                self.start,
                self.image,
                self.labels,
                self.n_classes,
                tuple(sorted(set(cutoffs))),
                self.activation if tied else None,
            )
        return self._counted[cutoffs, tied]

    def relabelled(self, labels: np.ndarray) -> "Firings":
        """Give the half's images other classes."""
        return replace(self, labels=labels.astype(np.int32), unmoved=None)

    def permuted(self, permutation: np.ndarray) -> "Firings":
        """Call class c `permutation[c]`, int (n_classes,): it takes that class's place."""
        before, place = self.unmoved or (self, np.arange(self.n_classes))
        place = permutation[place]
        labels = place[before.labels].astype(np.int32)
        return replace(self, labels=labels, unmoved=(before, place))

    def at_random(self, random: np.random.Generator) -> "Firings":
        """Replace each latent's images by as many random ones.

        Latents take windows, at random offsets, of one random order of the images: each latent's
        images are a uniform draw without replacement.
        """
        order = random.permutation(len(self.labels)).astype(np.int32)
        offset = random.integers(0, len(self.labels), len(self.start) - 1)
        rank = np.arange(len(self.image)) - np.repeat(self.start[:-1], self.n_firing)
        image = order[(rank + np.repeat(offset, self.n_firing)) % len(order)]
        return replace(self, image=image, unmoved=None)

    def resampled(self, random: np.random.Generator) -> "Firings":
        """Draw the half's images anew with replacement, within each class; or its groups.

        Every copy of an image is an image of its own. Copies of images that are drawn each for
        itself take the position of one of their class; with groups the number of images changes.
        """
        if self.groups is not None:
            return self._regrouped(self.groups, random)
        order = self._by_class
        size = self.class_size[self.labels[order]]
        first = (np.cumsum(self.class_size) - self.class_size)[self.labels[order]]
        drawn = order[first + (random.random(len(order)) * size).astype(np.int64)]
        copies = np.bincount(drawn, minlength=len(drawn))
        positions = order[np.argsort(drawn, kind="stable")]
        copied = self._copied(copies)
        return replace(copied, image=positions[copied.image].astype(self.image.dtype))

    def _regrouped(self, groups: np.ndarray, random: np.random.Generator) -> "Firings":
        """Draw whole groups anew with replacement."""
        present, group = np.unique(groups, return_inverse=True)
        drawn = np.bincount(
            random.integers(len(present), size=len(present)), minlength=len(present)
        )
        copies = drawn[group]
        return replace(
            self._copied(copies),
            labels=np.repeat(self.labels, copies),
            groups=np.repeat(groups, copies),
        )

    def _copied(self, copies: np.ndarray) -> "Firings":
        """Repeat the firings of each image; its copies are images in a row, of those before it."""
        times = copies[self.image]
        end = np.concatenate([[0], np.cumsum(times)])
        first = (np.cumsum(copies) - copies)[self.image] - end[:-1]
        return replace(
            self,
            start=end[self.start],
            image=(np.arange(end[-1]) + np.repeat(first, times)).astype(self.image.dtype),
            activation=np.repeat(self.activation, times),
            unmoved=None,
        )


@dataclass(frozen=True, eq=False)
class Halves:
    """The firings that choices are made on, and those that they are measured on."""

    scored: np.ndarray
    """int64 (n_scored,): the latents that fire on `top_n` images or more of each half."""
    choose: Firings
    score: Firings
    top_n: int

    @property
    def can_resample(self) -> bool:
        """Whether each half has more to draw from than a single group."""
        groups = (half.groups for half in (self.choose, self.score))
        return all(group is None or len(np.unique(group)) > 1 for group in groups)

    @cached_property
    def choose_top(self) -> ClassCounts:
        """Classes of the top sets of the choosing half."""
        return self.choose.class_counts(self.top_n)

    @cached_property
    def top(self) -> ClassCounts:
        """Classes of the top sets of the scoring half."""
        return self.score.class_counts(self.top_n)

    @cached_property
    def firing(self) -> ClassCounts:
        """Classes of all images of the scoring half that fire each latent."""
        return self.score.class_counts()

    def permuted(self, permutation: np.ndarray) -> "Halves":
        """Call class c `permutation[c]`, int (n_classes,): it takes that class's place."""
        return self.changed(lambda half: half.permuted(permutation))

    def changed(self, change: Callable[[Firings], Firings]) -> "Halves":
        """Change the firings of both halves; the same half stays the same half."""
        choose = change(self.choose)
        score = choose if self.score is self.choose else change(self.score)
        return replace(self, choose=choose, score=score)


def halve(
    codes: Codes,
    labels: np.ndarray,
    n_classes: int,
    top_n: int,
    parts: tuple[np.ndarray, ...] | None = None,
    groups: np.ndarray | None = None,
) -> Halves:
    """Take the latents that fire on `top_n` images or more of each half.

    Parameters
    ----------
    codes
        As `strongest_first` sorts them.
    labels
        Int (n_images,), below `n_classes`.
    top_n
        Images that a latent must fire on.
    parts
        bool (n_images,) each: the half that choices are made on, and the one that they are measured
        on, as `split_halves` draws them; None makes all images both halves.
    groups
        Int (n_images,), from 0: which images are drawn anew together; None draws each for itself.

    Examples
    --------
    Latent 0 fires on all four images, latent 1 on two of one half:

    >>> from cladescope.codes.ranking import strongest_first
    >>> fires = np.array([[2.0, 1], [1, 3], [2, 0], [1, 0]])
    >>> image, latent = fires.nonzero()
    >>> codes = Codes(image, latent, fires[image, latent], n_images=4, width=2)
    >>> first = np.array([True, True, False, False])
    >>> labels = np.array([0, 1, 0, 1])
    >>> halve(strongest_first(codes, seed=0), labels, 2, 2, (first, ~first)).scored.tolist()
    [0]
    """
    first, second = parts or (np.ones(codes.n_images, bool),) * 2
    enough = np.ones(codes.width, bool)
    for mask in (first, second):
        enough &= np.bincount(codes.latent[mask[codes.image]], minlength=codes.width) >= top_n
    scored = np.flatnonzero(enough)
    choose = _half(codes, labels, n_classes, first, scored, groups)
    score = choose if second is first else _half(codes, labels, n_classes, second, scored, groups)
    return Halves(scored, choose, score, top_n)


def _half(
    codes: Codes,
    labels: np.ndarray,
    n_classes: int,
    mask: np.ndarray,
    scored: np.ndarray,
    groups: np.ndarray | None,
) -> Firings:
    is_scored = np.zeros(codes.width, bool)
    is_scored[scored] = True
    kept = mask[codes.image] & is_scored[codes.latent]
    count = np.bincount(codes.latent[kept], minlength=codes.width)[scored]
    position = np.cumsum(mask) - 1
    return Firings(
        start=np.cumsum([0, *count]),
        image=position[codes.image[kept]].astype(np.int32),
        activation=codes.activation[kept],
        labels=labels[mask].astype(np.int32),
        n_classes=n_classes,
        groups=None if groups is None else groups[mask].astype(np.int32),
    )
