"""What a latent's page shows beside its scores: its images, its classes, its neighbours.

Vectorised over latents, so that a dictionary of 16,384 takes seconds. "None" among the image ids is
written as the number of images. What `scores/halves.py` has is not used: its compiled loops would
cost these short jobs more than they save.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from cladescope.atlas.wire import BANDS, BINS
from cladescope.codes.codes import Codes
from cladescope.codes.linear import nearest, unit_rows
from cladescope.codes.ranking import strongest_first


@dataclass(frozen=True, eq=False)
class Firing:
    """The images that fire each latent, latent by latent, in the order of the scores."""

    start: Int[np.ndarray, " latents+1"]
    image: Int[np.ndarray, " firings"]
    latent: Int[np.ndarray, " firings"]
    activation: Float[np.ndarray, " firings"]
    n_images: int

    @classmethod
    def of(cls, codes: Codes, seed: int) -> "Firing":
        """Sort the codes; `seed` decides ties."""
        ranked = strongest_first(codes, seed)
        count = np.bincount(codes.latent, minlength=codes.width)
        return cls(
            start=np.concatenate([[0], np.cumsum(count)]),
            image=ranked.image,
            latent=ranked.latent,
            activation=ranked.activation,
            n_images=codes.n_images,
        )

    @property
    def count(self) -> Int[np.ndarray, " latents"]:
        """Images that fire each latent."""
        return np.diff(self.start)

    @property
    def strongest(self) -> Float[np.ndarray, " latents"]:
        """Largest activation of each latent, 0 for a dead one."""
        first = np.minimum(self.start[:-1], max(len(self.activation) - 1, 0))
        padded = self.activation if len(self.activation) else np.zeros(1, np.float32)
        return np.where(self.count > 0, padded[first], 0).astype(np.float32)

    @property
    def relative(self) -> Float[np.ndarray, " firings"]:
        """Activations as shares of the latent's largest."""
        return self.activation / self.strongest[self.latent]


def images_by_band(
    firing: Firing, per_band: int
) -> tuple[Int[np.ndarray, "latents images"], Float[np.ndarray, "latents images"]]:
    """Pick images over the whole range of a latent's activation.

    `per_band` strongest ones, then as many from each quarter of the images that fire it, at even
    steps of rank; fewer where there are fewer.

    Returns
    -------
    images, relative
        Image ids, band after band, and their activations as shares of the largest.
    """
    count, steps = firing.count[:, None], np.arange(per_band)[None]
    ranks, known = [], []
    for first, last in BANDS.values():
        if first == last:
            low, high = np.zeros_like(count), np.minimum(count, per_band)
        else:
            low, high = count * first // 4, count * last // 4
        room = high - low
        spread = low + ((2 * steps + 1) * room) // (2 * per_band)
        ranks.append(np.where(room > per_band, spread, low + steps))
        known.append(steps < room)
    rank, is_known = np.concatenate(ranks, 1), np.concatenate(known, 1)
    position = np.where(is_known, firing.start[:-1, None] + rank, 0)
    if not len(firing.image):
        return np.full(position.shape, firing.n_images), np.zeros(position.shape)
    images = np.where(is_known, firing.image[position], firing.n_images)
    return images, np.where(is_known, firing.relative[position], 0)


def histograms(
    firing: Firing, under: Bool[np.ndarray, " firings"]
) -> Int[np.ndarray, "latents 2 bins"]:
    """Count activations in even steps up to the largest: on images under the node, and others."""
    step = np.minimum((firing.relative * BINS).astype(np.int64), BINS - 1)
    cell = (firing.latent.astype(np.int64) * 2 + ~under) * BINS + step
    n = len(firing.start) - 1
    return np.bincount(cell, minlength=n * 2 * BINS).reshape(n, 2, BINS)


def false_alarms(
    firing: Firing, under: Bool[np.ndarray, " firings"], n: int
) -> Int[np.ndarray, "latents n"]:
    """Return the images outside the latent's node that fire it most."""
    outside = np.concatenate([[0], np.cumsum(~under)])
    rank = outside[1:] - outside[firing.start[firing.latent]] - 1
    chosen = ~under & (rank < n)
    images = np.full((len(firing.start) - 1, n), firing.n_images)
    images[firing.latent[chosen], rank[chosen]] = firing.image[chosen]
    return images


def misses(
    firing: Firing,
    node: Int[np.ndarray, " latents"],
    labels: Int[np.ndarray, " images"],
    covers: Bool[np.ndarray, "classes nodes"],
    n: int,
) -> tuple[Int[np.ndarray, " latents"], Int[np.ndarray, "latents n"]]:
    """Return how many images under each latent's node do not fire it, and some of them.

    Parameters
    ----------
    node
        -1 for none.

    Returns
    -------
    counts, images
        The images at even steps of their id.
    """
    count = np.zeros(len(node), np.int64)
    images = np.full((len(node), n), firing.n_images)
    under = {v: np.flatnonzero(covers[labels, v]) for v in np.unique(node[node >= 0])}
    fires = np.zeros(firing.n_images, bool)
    for latent in np.flatnonzero(node >= 0):
        mine = firing.image[firing.start[latent] : firing.start[latent + 1]]
        fires[mine] = True
        silent = under[node[latent]][~fires[under[node[latent]]]]
        fires[mine] = False
        count[latent] = len(silent)
        steps = np.linspace(0, len(silent), min(n, len(silent)), endpoint=False)
        shown = silent[steps.astype(int)]
        images[latent, : len(shown)] = shown
    return count, images


@dataclass(frozen=True, eq=False)
class Lists:
    """A list for each latent, one behind the other."""

    start: Int[np.ndarray, " latents+1"]
    item: Int[np.ndarray, " entries"]
    value: np.ndarray
    """(entries,): what goes with each item."""

    @classmethod
    def largest(
        cls, latent: np.ndarray, item: np.ndarray, value: np.ndarray, n_latents: int, n: int
    ) -> "Lists":
        """Keep each latent's `n` items of the largest value, largest first; ties by item."""
        order = np.lexsort((item, -value, latent))
        latent, item, value = latent[order], item[order], value[order]
        start = np.searchsorted(latent, np.arange(n_latents + 1))
        kept = np.arange(len(latent)) - start[latent] < n
        start = np.concatenate([[0], np.cumsum(np.minimum(np.diff(start), n))])
        return cls(start, item[kept], value[kept])


def class_counts(
    firing: Firing, labels: Int[np.ndarray, " images"], n_classes: int, n: int
) -> Lists:
    """Count the images of each class that fire each latent; the `n` classes with most of them."""
    n_latents = len(firing.start) - 1
    cell, count = np.unique(
        firing.latent.astype(np.int64) * n_classes + labels[firing.image], return_counts=True
    )
    latent, label = np.divmod(cell, n_classes)
    return Lists.largest(latent, label, count, n_latents, n)


def neighbours(
    decoder: Float[np.ndarray, "latents d"], n: int
) -> tuple[Int[np.ndarray, "latents n"], Float[np.ndarray, "latents n"]]:
    """Return the latents whose decoder rows point most nearly the same way, and the cosines.

    Largest cosine first; ties by latent.
    """
    near, cosine = nearest(unit_rows(decoder), None, n)
    order = np.lexsort((near, -cosine), axis=1)
    return np.take_along_axis(near, order, 1), np.take_along_axis(cosine, order, 1)
