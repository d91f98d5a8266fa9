"""The planted world's images in memory, with their classes; as a model takes them."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cladescope.planted.network import PIXEL_DEVIATION, PIXEL_MEAN


class LabelledImages(NamedTuple):
    """A folder of images in memory.

    Attributes
    ----------
    pixels : Tensor, shape (n, 3, size, size), uint8
    labels : Tensor, shape (n,), int64
        Index of the image's class in `wnids`.
    wnids : list of str
        The folder's classes, sorted.
    sha256 : str
        Of the relative paths and the files' contents, in sorted order.
    """

    pixels: Tensor
    labels: Tensor
    wnids: list[str]
    sha256: str


def read_images(folder: str | Path) -> LabelledImages:
    """Read all PNG files of a folder `{wnid}/*.png`, in sorted order.

    Raises
    ------
    ValueError
        If there are none, or if they differ in size (naming the first that does).
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*/*.png"), key=lambda path: path.relative_to(folder).as_posix())
    if not paths:
        raise ValueError(f"{folder} holds no images of the form {{wnid}}/*.png")
    wnids = sorted({path.parent.name for path in paths})
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    digest = hashlib.sha256()
    pixels = None
    for i, path in enumerate(paths):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
        with Image.open(path) as image:
            image_pixels = np.asarray(image.convert("RGB"))
        if pixels is None:
            pixels = np.empty((len(paths), *image_pixels.shape), np.uint8)
        if image_pixels.shape != pixels.shape[1:]:
            raise ValueError(f"{path} differs in size from {paths[0]}")
        pixels[i] = image_pixels
    assert pixels is not None
    return LabelledImages(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        torch.tensor([label_of[path.parent.name] for path in paths]),
        wnids,
        digest.hexdigest(),
    )


def normalise(pixels: Tensor) -> Tensor:
    """Return uint8 pixels as the model's input; as timm's transform for its default config."""
    mean = torch.tensor(PIXEL_MEAN).view(3, 1, 1)
    deviation = torch.tensor(PIXEL_DEVIATION).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / deviation
