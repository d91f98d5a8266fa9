"""How many of the images that fire a latent each class has: what a pass looks at instead of images.

Where classes change places, the counts stay the same and only the names of the classes change.
"""

from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled


class ClassCounts(NamedTuple):
    """Per latent, the classes among some of its images and how many of them each has."""

    start: np.ndarray
    """int64 (n_latents + 1,): position of each latent's first class, and the end."""
    label: np.ndarray
    """int32 (n_entries,)."""
    images: np.ndarray
    """int32 (n_entries,): how many there are of the class."""

    def permuted(self, permutation: np.ndarray) -> "ClassCounts":
        """Call class c `permutation[c]`, int (n_classes,)."""
        return self._replace(label=permutation.astype(np.int32)[self.label])


class CutCounts(NamedTuple):
    """Per latent, the classes of the images between each cut-off and the one before it.

    Part p of latent j is row j · n_parts + p; the last part ends with all images that fire the
    latent. A cut-off that lies there, or further on, has no part.
    """

    end: np.ndarray
    """int64 (n_latents, n_parts): images up to the end of each part; 0 where there is none."""
    start: np.ndarray
    """int64 (n_latents · n_parts + 1,): position of each part's first class, and the end."""
    label: np.ndarray
    """int32 (n_entries,)."""
    images: np.ndarray
    """int32 (n_entries,): how many images of the part are of the class."""

    def permuted(self, permutation: np.ndarray) -> "CutCounts":
        """Call class c `permutation[c]`, int (n_classes,)."""
        return self._replace(label=permutation.astype(np.int32)[self.label])


def count_first(
    start: np.ndarray, image: np.ndarray, labels: np.ndarray, n_classes: int, limit: int
) -> ClassCounts:
    """Count the classes among the first `limit` images of each latent, in order of appearance.

    Parameters
    ----------
    start, image
        Int (n_latents + 1,) and (n_firings,): the images of each latent, strongest first.
    labels
        int32 (n_images,): class of each image.

    Examples
    --------
    >>> start, image, labels = np.array([0, 3]), np.array([2, 0, 1]), np.array([5, 4, 5], np.int32)
    >>> counts = count_first(start, image, labels, n_classes=6, limit=3)
    >>> counts.label.tolist(), counts.images.tolist()
    ([5, 4], [2, 1])
    """
    end = np.minimum(np.diff(start), limit)[:, None]
    return ClassCounts(*_count(start, image, labels, n_classes, end))


def count_between(
    start: np.ndarray,
    image: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    cutoffs: tuple[int, ...],
    activation: np.ndarray | None = None,
) -> CutCounts:
    """Count the classes between cut-offs (increasing), and from the last one on.

    Parameters
    ----------
    activation
        float32 (n_firings,): a cut-off moves on to the end of the images with its activation, and
        one that this takes to the next is left out. None cuts them apart.

    Examples
    --------
    Of three images two are above the cut-off; where all three fire alike, there is none.

    >>> start, image, labels = np.array([0, 3]), np.array([2, 0, 1]), np.array([5, 4, 5], np.int32)
    >>> counts = count_between(start, image, labels, 6, cutoffs=(2, 8))
    >>> counts.end.tolist(), counts.start.tolist(), counts.label.tolist()
    ([[2, 0, 3]], [0, 1, 1, 2], [5, 4])
    >>> count_between(start, image, labels, 6, (2, 8), np.ones(3, np.float32)).end.tolist()
    [[0, 0, 3]]
    """
    n_firing = np.diff(start)[:, None]
    end = np.where(np.array(cutoffs, np.int64) < n_firing, np.array(cutoffs, np.int64), 0)
    if activation is not None:
        _keep_ties_together(start, activation, end)
    end = np.hstack([end, n_firing])
    return CutCounts(end, *_count(start, image, labels, n_classes, end))


@compiled
def _keep_ties_together(start: np.ndarray, activation: np.ndarray, end: np.ndarray) -> None:
    """Move the ends, in place, behind the images of equal activation."""
    for j in range(len(end)):
        done, n_firing = 0, start[j + 1] - start[j]
        for p in range(end.shape[1]):
            r = end[j, p]
            if r > 0:
                while r < n_firing and activation[start[j] + r] == activation[start[j] + r - 1]:
                    r += 1
                end[j, p] = r if done < r < n_firing else 0
                done = r


@compiled
def _count(
    start: np.ndarray, image: np.ndarray, labels: np.ndarray, n_classes: int, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the classes of the images up to each end, 0 for none, from the end before it."""
    n_latents, n_parts = end.shape
    first = np.zeros(n_latents * n_parts + 1, np.int64)
    entries = 0
    for j in range(n_latents):
        done = 0
        for p in range(n_parts):
            entries += min(max(end[j, p] - done, 0), n_classes)
            done = max(done, end[j, p])
    label, images = np.empty(entries, np.int32), np.empty(entries, np.int32)
    position = np.full(n_classes, -1, np.int64)
    total = 0
    for j in range(n_latents):
        done = 0
        for p in range(n_parts):
            begin = total
            for i in range(start[j] + done, start[j] + end[j, p]):
                c = labels[image[i]]
                if position[c] < begin:  # not seen in this part
                    position[c] = total
                    label[total], images[total] = c, 0
                    total += 1
                images[position[c]] += 1
            done = max(done, end[j, p])
            first[j * n_parts + p + 1] = total
    return first, label[:total].copy(), images[:total].copy()
