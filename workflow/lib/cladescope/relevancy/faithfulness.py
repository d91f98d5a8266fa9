"""Whether a map is right: how the latent reacts to removed patches, and where the object is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from cladescope.relevancy.methods import Target


class Curves(NamedTuple):
    """Activation as a share of the intact image's, at 0, 1/steps, 2/steps, ..., 1 of the patches.

    Patches are taken by decreasing value of the map (ties: the first patch).
    """

    deletion: Float[Tensor, "images points"]
    """After those patches were removed."""
    insertion: Float[Tensor, "images points"]
    """With only those patches."""


def measure_curves(
    read: Callable[[Tensor], Tensor],
    images: Float[Tensor, "images 3 height width"],
    target: Target,
    maps: Float[Tensor, "images patches"],
    steps: int,
) -> Curves:
    """Remove patches and measure each image's latent.

    Deletion and insertion are those of Petsiuk, Das & Saenko 2018 (arXiv 1806.07421).
    Removed patches have the mean colour that preprocessing subtracts. The activation is max(p, 0),
    p the pre-activation, its maximum for several tokens; it must be positive for the intact image.

    Parameters
    ----------
    read
        Returns the tokens (images, tokens, d) of images that the latent reads.
    """
    size = (images.shape[2], images.shape[3])
    grid = grid_of(maps.shape[1], *size)
    rank = (-maps).argsort(dim=1, stable=True).argsort(dim=1)

    def activation(keep: Bool[Tensor, "images patches"]) -> Tensor:
        shown = interpolate(keep.to(images.dtype).view(-1, 1, *grid), size)
        return target.pre_activation(read(images * shown)).amax(1).clamp(min=0)

    counts = [round(maps.shape[1] * step / steps) for step in range(steps + 1)]
    deletion = torch.stack([activation(rank >= count) for count in counts], dim=1)
    insertion = torch.stack([activation(rank < count) for count in counts], dim=1)
    intact = deletion[:, :1]
    return Curves(deletion / intact, insertion / intact)


def grid_of(n_patches: int, height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of an image's patches.

    Raises
    ------
    ValueError
        If they cannot tile the image.
    """
    rows = round((n_patches * height / width) ** 0.5)
    if n_patches % rows:
        raise ValueError(f"{n_patches} patches do not tile an image of {height} × {width} pixels")
    return rows, n_patches // rows


def object_coverage(
    transform: Callable[[Image.Image], Tensor],
    masks: Bool[np.ndarray, "images height width"],
    n_patches: int,
) -> Float[Tensor, "images patches"]:
    """Return the share of each patch that an object covers, after the backbone's preprocessing."""

    def preprocess(mask: np.ndarray) -> Tensor:
        pixels = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
        return transform(Image.fromarray(pixels))[:1]

    black, white = (preprocess(np.full_like(masks[0], value)) for value in (False, True))
    scaled = torch.stack([(preprocess(mask) - black) / (white - black) for mask in masks])
    # Resizing overshoots at edges.
    grid = grid_of(n_patches, *scaled.shape[2:])
    return adaptive_avg_pool2d(scaled.clamp(0, 1), grid).flatten(1)


def share_inside(
    maps: Float[Tensor, "images patches"], coverage: Float[Tensor, "images patches"]
) -> Float[Tensor, " images"]:
    """Return the share of each map's sum that lies on the object; NaN for a map of zeros."""
    return (maps * coverage).sum(1) / maps.sum(1)
