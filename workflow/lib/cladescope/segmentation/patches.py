"""What every patch shows: how much of it each class covers, and which nodes it counts for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image
from scipy.sparse import csr_array
from torch import Tensor

from cladescope.images.index import ImageIndex
from cladescope.relevancy.faithfulness import object_coverage

POSITIVE_SHARE = 0.25
"""A patch counts for what covers at least this share of it (arXiv 2511.17735)."""
_DECIMALS = 6
"""Shares of several classes are added, and compared after rounding."""

ReadMask = Callable[[int], Int[np.ndarray, "height width"]]
"""Gives the class of each pixel of an image, −1 where there is none, by the image's id."""


@dataclass(frozen=True, eq=False)
class Patches:
    """The stored patches of some images, image by image, each in the order of its store."""

    images: Int[np.ndarray, " images"]
    """Ids, ascending."""
    per_image: int
    shares: csr_array
    """Float64 (patches, classes): how much of a patch each class covers."""

    def __len__(self) -> int:
        return len(self.images) * self.per_image

    def only(self, chosen: Bool[np.ndarray, " images"]) -> "Patches":
        """Return those of some of the images."""
        kept = np.repeat(chosen, self.per_image)
        return Patches(self.images[chosen], self.per_image, self.shares[np.flatnonzero(kept)])

    def positive(self, covers: Bool[np.ndarray, "classes nodes"]) -> csr_array:
        """Say which patches count for which nodes: float64 (patches, nodes), 1 where they do."""
        shares = self.shares @ csr_array(covers.astype(np.float64))
        shares.data = (np.round(shares.data, _DECIMALS) >= POSITIVE_SHARE).astype(np.float64)
        shares.eliminate_zeros()
        shares.sort_indices()
        return shares


def cover_patches(
    transform: Callable[[Image.Image], Tensor],
    read_mask: ReadMask,
    images: Int[np.ndarray, " images"],
    n_classes: int,
    n_patches: int,
    positions: Int[np.ndarray, "images tokens"] | None = None,
) -> Patches:
    """Measure how much of each patch every class covers, after the backbone's preprocessing.

    Parameters
    ----------
    images
        Ids, ascending.
    n_patches
        That the backbone makes of an image.
    positions
        Of the patches that are stored of each of the images; None for all.
    """
    rows: list[np.ndarray] = []
    classes: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    per_image = n_patches if positions is None else positions.shape[1]
    for number, image in enumerate(images):
        mask = read_mask(int(image))
        present = np.unique(mask[mask >= 0])
        if not len(present):
            continue
        covered = object_coverage(transform, mask == present[:, None, None], n_patches).numpy()
        if positions is not None:
            covered = covered[:, positions[number]]
        of, patch = np.nonzero(covered)
        rows.append(number * per_image + patch)
        classes.append(present[of])
        shares.append(covered[of, patch].astype(np.float64))
    shape = (len(images) * per_image, n_classes)
    if not rows:
        return Patches(images, per_image, csr_array(shape))
    where = (np.concatenate(rows), np.concatenate(classes))
    return Patches(images, per_image, csr_array((np.concatenate(shares), where), shape))


def masks_of_objects(
    masks: Mapping[str, Bool[np.ndarray, "height width"]], index: ImageIndex
) -> ReadMask:
    """Return masks of images that show one object each, which is of the image's class."""

    def read(image: int) -> np.ndarray:
        return np.where(masks[str(index.paths[image])], index.labels[image], -1)

    return read
