"""Small copies of a dataset's evaluation images, one file each, whichever latents show them."""

from pathlib import Path

from PIL import Image, ImageOps

from cladescope.atlas.chunks import write_chunk
from cladescope.atlas.wire import IMAGES_PER_FOLDER
from cladescope.files import write_aside
from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import ImageSource
from cladescope.jobs import progress

QUALITY = 75
"""Of WebP, 0 to 100."""


def draw_thumbnails(index: ImageIndex, source: ImageSource, side: int, folder: str | Path) -> None:
    """Write `{id // 1000}/{id}.webp` for every image, and beside them `paths.js`.

    A thumbnail is the central square of the image, as most backbones see it, reduced to `side`
    pixels; smaller ones are not enlarged. Names come from the number of the image, never from its
    path, which may hold anything.

    Raises
    ------
    ValueError
        If an image is gone or is not the one that was indexed.
    """
    with write_aside(folder) as aside:
        for row in progress(range(len(index)), len(index), "thumbnails"):
            subfolder = aside / str(row // IMAGES_PER_FOLDER)
            if row % IMAGES_PER_FOLDER == 0:
                subfolder.mkdir(parents=True)
                write_chunk(
                    subfolder / "paths.js", paths=[*index.paths[row : row + IMAGES_PER_FOLDER]]
                )
            image = decode_image(source.read_checked(index, row))
            square = min(side, *image.size)
            small = ImageOps.fit(image, (square, square), Image.Resampling.LANCZOS)
            small.save(subfolder / f"{row}.webp", quality=QUALITY, method=2)
