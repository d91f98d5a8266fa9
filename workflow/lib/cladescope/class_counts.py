"""From sparse codes to class counts: all that the scores need to know of the images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cladescope.codes import Codes
from cladescope.taxonomy import images_needed

# Elements of a block's count table (latents x cut-offs x classes); bounds the memory.
_BLOCK_ELEMENTS = 4_000_000


class ClassSets(NamedTuple):
    """For each latent a set of classes."""

    member: np.ndarray
    """bool (n_latents, n_classes)."""
    latent: np.ndarray
    """int64 (n_members,): the same as a list."""
    label: np.ndarray
    """int64 (n_members,)."""

    @classmethod
    def of(cls, member: np.ndarray) -> "ClassSets":
        """List the members once; every null draw needs them."""
        return cls(member, *np.nonzero(member))


class ClassCounts(NamedTuple):
    """How often each class occurs among the images that each latent of a block fires on most."""

    top: np.ndarray
    """float32 (n_latents, n_classes): in the top set."""
    frequent: ClassSets
    """The classes that hold at least `class_share` of the top set."""
    active: ClassSets
    """The classes of which at least a share `rho` of the images fire the latent."""
    cut: np.ndarray
    """float32 (n_rows, n_classes): above each distinct rank cut-off, latent by latent."""
    cut_size: np.ndarray
    """float64 (n_rows,): images above the cut-off."""
    first_row: np.ndarray
    """int64 (n_latents,): each latent's first row of `cut`."""
    class_size: np.ndarray
    """float64 (n_classes,): images of each class in the split."""

    @property
    def n_images(self) -> float:
        """Number of images of the split."""
        return float(self.class_size.sum())


def count_classes(
    latent: np.ndarray,
    rank: np.ndarray,
    label: np.ndarray,
    class_size: np.ndarray,
    top_n: int,
    cutoffs: tuple[int, ...],
    class_share: float,
    rho: float,
) -> ClassCounts:
    """Count classes in the top set and above each rank cut-off of a block of latents.

    Parameters
    ----------
    latent, rank, label
        Int (n_firings,): per firing, the latent's position in the block (every latent has at least
        `top_n` firings), its rank by activation (0 is the largest) and the image's class.
    class_size
        Images of each class in the split.
    top_n
        Size of the top set.
    cutoffs
        Rank cut-offs in images, besides "every image that fires the latent". A cut-off above the
        latent's firing count is that one, and is left out.
    class_share
        Share of the top set that a class must hold to be frequent.
    rho
        Share of a class's images that must fire a latent for it to be active on the class.
    """
    n_latents, n_classes = int(latent[-1]) + 1, len(class_size)
    edges = np.array(sorted({top_n, *cutoffs}))
    segment = np.searchsorted(edges, rank, side="right")  # firings between two edges
    n_segments = len(edges) + 1
    key = (latent * n_segments + segment) * n_classes + label
    counts = np.bincount(key, minlength=n_latents * n_segments * n_classes)
    above = counts.reshape(n_latents, n_segments, n_classes).astype(np.float32)
    for segment_end in range(1, n_segments):  # several times faster than cumsum(1)
        above[:, segment_end] += above[:, segment_end - 1]

    n_firing = np.bincount(latent)
    is_cutoff = np.append(np.isin(edges, cutoffs), True)
    size = np.append(edges, n_firing.max() + 1)
    keep = is_cutoff & (size < n_firing[:, None])
    keep[:, -1] = True
    cut_size = np.where(size < n_firing[:, None], size, n_firing[:, None])
    needed = np.where(class_size > 0, images_needed(class_size, rho), np.inf)
    rows = keep.sum(1)
    top = above[:, np.searchsorted(edges, top_n)]
    return ClassCounts(
        top=top,
        frequent=ClassSets.of(top >= images_needed(top_n, class_share)),
        active=ClassSets.of(above[:, -1] >= needed),
        cut=above[keep],
        cut_size=cut_size[keep].astype(np.float64),
        first_row=np.cumsum(rows) - rows,
        class_size=np.asarray(class_size, np.float64),
    )


@dataclass(frozen=True, eq=False)
class Firings:
    """The images that fire each scored latent, latent by latent, strongest first."""

    count: np.ndarray
    """int64 (width,): images that fire each latent."""
    scored: np.ndarray
    """int64 (n_scored,): latents that fire on enough images."""
    image: np.ndarray
    """int32 (n_firings,): image ids; ties of the activation in their order."""
    start: np.ndarray
    """int64 (n_scored + 1,): position of each scored latent's first firing, and the end."""

    @classmethod
    def of(cls, codes: Codes, top_n: int) -> "Firings":
        """Sort the codes by latent and decreasing activation."""
        count = np.bincount(codes.latent, minlength=codes.width)
        scored = np.flatnonzero(count >= top_n)
        order = np.lexsort((codes.image, -codes.activation, codes.latent))
        order = order[(count >= top_n)[codes.latent[order]]]
        return cls(count, scored, codes.image[order], np.cumsum([0, *count[scored]]))

    def blocks(
        self,
        labels: np.ndarray,
        n_classes: int,
        top_n: int,
        cutoffs: tuple[int, ...],
        class_share: float,
        rho: float,
    ) -> Iterator[tuple[int, ClassCounts]]:
        """Yield (first scored latent, its block's class counts) under some labels."""
        class_size = np.bincount(labels, minlength=n_classes)
        size = max(1, _BLOCK_ELEMENTS // (n_classes * (len(cutoffs) + 2)))
        for first in range(0, len(self.scored), size):
            start = self.start[first : first + size + 1]
            latent = np.repeat(np.arange(len(start) - 1), np.diff(start))
            yield (
                first,
                count_classes(
                    latent,
                    np.arange(len(latent)) - (start - start[0])[latent],
                    labels[self.image[start[0] : start[-1]]],
                    class_size,
                    top_n,
                    cutoffs,
                    class_share,
                    rho,
                ),
            )
