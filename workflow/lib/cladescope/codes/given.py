"""Codes that were made elsewhere: arrays, sparse matrices, data frames, and files of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import scipy.sparse

from cladescope.codes.codes import Codes
from cladescope.files import reading

COLUMNS = ("image", "latent", "activation")
ROWS = 4096
"""Of a dense array that are looked at together."""


def codes_of(
    values: Any, n_images: int | None = None, width: int | None = None, paths: Sequence[str] = ()
) -> Codes:
    """Make codes of what another library gives; what is not above 0 does not fire.

    Parameters
    ----------
    values
        Images × latents, as an array (n_images, width), a scipy sparse matrix or a pandas frame;
        or a frame with a row for each firing and the columns `image`, `latent` and `activation`.
    n_images, width
        For a frame of firings: counts from its largest ids if None.
    paths
        Of the images, where a frame of firings names them instead of counting them.

    Raises
    ------
    ValueError
        Says what is wrong with the values: their shape, a column, a number that is not finite.

    Examples
    --------
    >>> codes = codes_of(np.array([[0, 0.5], [2, -1]]))
    >>> codes.image.tolist(), codes.latent.tolist(), codes.activation.tolist()
    ([0, 1], [1, 0], [0.5, 2.0])
    """
    if isinstance(values, pd.DataFrame) and {*COLUMNS} <= {*values.columns}:
        image, latent, activation = _firings(values, paths)
        n_images = n_images or len(paths) or int(image.max(initial=-1)) + 1
        width = width or int(latent.max(initial=-1)) + 1
    else:
        image, latent, activation = _of_matrix(values)
        n_images, width = np.shape(values)
    fires = ~(activation <= 0)
    image, latent = image[fires], latent[fires]
    with np.errstate(over="ignore"):
        activation = activation[fires].astype(np.float32)
    if not np.isfinite(activation).all():
        raise ValueError("codes hold activations that are no finite float32; mend what made them")
    if len(image) and not (image.min() >= 0 and image.max() < n_images):
        raise ValueError(f"codes of images {image.min()} to {image.max()}, of {n_images}")
    if len(latent) and not (latent.min() >= 0 and latent.max() < width):
        raise ValueError(f"codes of latents {latent.min()} to {latent.max()}, of {width}")
    order = np.lexsort((latent, image))
    image, latent = image[order].astype(np.int32), latent[order].astype(np.int32)
    if twice := int(((np.diff(image) == 0) & (np.diff(latent) == 0)).sum()):
        raise ValueError(f"{twice} pairs of image and latent are given twice; give each once")
    # Rounding to float32 may end at 0.
    smallest = np.finfo(np.float32).tiny
    activation = np.maximum(activation[order], smallest)
    return Codes(image, latent, activation, n_images, width)


def read_codes(path: str | Path, n_images: int, paths: Sequence[str] = ()) -> Codes:
    """Read codes from a file.

    Parameters
    ----------
    path
        `.parquet`: a row for each firing, as for `codes_of`, or what the workflow writes; `.npz`: a
        sparse matrix by `scipy.sparse.save_npz`; `.npy`: an array.
    n_images
        How many there are, with those on which no latent fires.
    paths
        Of the images.

    Raises
    ------
    FileNotFoundError, ValueError
        Names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name the file with the codes")
    read = {".parquet": _read_parquet, ".npz": scipy.sparse.load_npz, ".npy": _read_array}
    if path.suffix not in read:
        raise ValueError(f"{path}: codes are read from {', '.join(read)}; write one of these")
    with reading(path, remedy="make it again"):
        values = read[path.suffix](path)
    try:
        width = int(values.attrs["width"]) if isinstance(values, pd.DataFrame) else None
        codes = codes_of(values, n_images, width or None, paths)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if codes.n_images != n_images:
        raise ValueError(f"{path} has {codes.n_images} images, the labels {n_images}")
    return codes


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read a frame; its attribute `width` is the dictionary's if the workflow wrote it, else 0."""
    table = pq.read_table(path)
    frame = table.to_pandas()
    frame.attrs["width"] = int((table.schema.metadata or {}).get(b"width", 0))
    return frame


def _read_array(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _firings(frame: pd.DataFrame, paths: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Return the columns as numbers; images that are named are looked up."""
    image = frame["image"]
    if not pd.api.types.is_integer_dtype(image):
        number = pd.Series(np.arange(len(paths)), index=[*paths])
        image = image.astype(str)
        if unknown := [name for name in image.unique() if name not in number.index]:
            raise ValueError(
                f"images that the labels lack: {', '.join(unknown[:5])}"
                f"{' …' if len(unknown) > 5 else ''}; use the same names, or count from 0"
            )
        image = image.map(number)
    for name in COLUMNS[1:]:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise ValueError(f"the column {name} holds {frame[name].dtype}; numbers are wanted")
    return image.to_numpy(), frame["latent"].to_numpy(), frame["activation"].to_numpy()


def _of_matrix(values: Any) -> tuple[np.ndarray, ...]:
    if scipy.sparse.issparse(values):
        found = values.tocoo()
        return found.row, found.col, found.data
    values = np.asarray(values)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        raise ValueError(
            f"codes of shape {values.shape} and type {values.dtype}; give numbers, images × "
            f"latents, or a frame with the columns {', '.join(COLUMNS)}"
        )
    parts = []
    for first in range(0, len(values), ROWS):
        block = np.asarray(values[first : first + ROWS])
        # NaN is kept, and refused.
        image, latent = np.nonzero(~(block <= 0))
        parts.append((image + first, latent, block[image, latent]))
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return tuple(np.concatenate(part) for part in zip(empty, *parts, strict=True))
