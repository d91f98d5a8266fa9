"""Which pixels of an image are its object: those of its own class, by whatever masks there are."""

import logging
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Int

from cladescope.images.index import ImageIndex
from cladescope.images.masks import MaskFolder
from cladescope.planted.rendering import masks_by_path
from cladescope.taxonomy.taxonomy import Taxonomy

ReadObject = Callable[[int], Bool[np.ndarray, "height width"]]
"""Gives the pixels of an image's object, by the image's id; none where its mask shows none."""


def read_objects(files: Mapping[str, str], index: ImageIndex) -> ReadObject | None:
    """Open the masks of a dataset's evaluation images.

    Parameters
    ----------
    files
        Paths: `factors` of the planted world, or of the user's masks `masks`, `mask_taxonomy` and
        the `taxonomy` of the images' classes. Without either nothing is known.

    Raises
    ------
    ValueError, OSError
        From what reads them, now or later.
    """
    if "factors" in files:
        drawn = masks_by_path(files["factors"])
        return lambda image: drawn[str(index.paths[image])]
    if "masks" not in files:
        return None
    of_images, of_masks = (Taxonomy.load(files[key]) for key in ("taxonomy", "mask_taxonomy"))
    masks = MaskFolder.load(files["masks"], index, of_masks.leaves)
    return objects_of(masks.read, index.labels, same_thing(of_images, of_masks))


def same_thing(of_images: Taxonomy, of_masks: Taxonomy) -> Bool[np.ndarray, "classes shown"]:
    """Say which classes of masks stand for which classes of images.

    That is the class itself, a kind of it in the taxonomy of the masks (a pug where images are of
    dogs), or what it is a kind of in that of the images (a dog where they are of pugs).
    """
    found = np.zeros((len(of_images.leaves), len(of_masks.leaves)), bool)
    place = {wnid: node for node, wnid in enumerate(of_masks.nodes)}
    for label, wnid in enumerate(of_images.leaves):
        if wnid in place:
            found[label] = of_masks.ancestors[:, place[wnid]]
    place = {wnid: node for node, wnid in enumerate(of_images.nodes)}
    for shown, wnid in enumerate(of_masks.leaves):
        if wnid in place:
            found[:, shown] |= of_images.ancestors[:, place[wnid]]
    return found


def objects_of(
    read_mask: Callable[[int], Int[np.ndarray, "height width"]],
    labels: Int[np.ndarray, " images"],
    same: Bool[np.ndarray, "classes shown"],
) -> ReadObject:
    """Return the pixels of masks that show the image's own class.

    Parameters
    ----------
    read_mask
        Gives the class of each pixel, −1 for none, by the image's id.
    same
        As `same_thing` returns it.
    """
    if not same.any():
        logging.warning("masks show no class of the images: no map is held against its object")

    def read(image: int) -> np.ndarray:
        # A column more, for pixels of no class.
        return np.append(same[labels[image]], False)[read_mask(image)]

    return read
