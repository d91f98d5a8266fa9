"""Pairs of images that differ in one thing: the table that names them, and the index of its images.

What differs is known by who made the pair, and taken as the table says.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from cladescope.files import read_text
from cladescope.images.index import SHA256_BYTES, ImageIndex, decode_image, is_image, sha256_of
from cladescope.images.sources.faults import raise_faults
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.images.sources.label_files import parse_table
from cladescope.jobs import progress
from cladescope.names import CHANGES, PAIR_COLUMNS

FIRST_LINE = 2
"""Of a table's rows, below the header."""


def read_pairs(path: str | Path) -> pd.DataFrame:
    """Read a table of pairs, and look whether its images are there.

    Parameters
    ----------
    path
        CSV with the columns of `names.PAIR_COLUMNS`; others are not read. Images are relative to
        its folder and stay within it.

    Returns
    -------
    The four columns, as text.

    Raises
    ------
    FileNotFoundError, ValueError
        Names the table and every line with a fault.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; correct the dataset's pairs")
    table = parse_table(path, read_text(path))
    if missing := [name for name in PAIR_COLUMNS if name not in table]:
        raise ValueError(
            f"{path}: no column {', '.join(missing)}; its header must have "
            f"{', '.join(PAIR_COLUMNS)}"
        )
    if table.empty:
        raise ValueError(f"{path} names no pair; add a row for each")
    table = table[[*PAIR_COLUMNS]]
    inside = path.parent.resolve()
    files = {name: _fault_of(path.parent / name, inside) for name in sorted(_images(table))}
    faults = []
    for line, cells in enumerate(table.to_numpy(str), start=FIRST_LINE):
        image, counterpart, _, change = map(str, cells)
        found = [
            f"{name} is empty; complete the row"
            for name, cell in zip(PAIR_COLUMNS, cells, strict=True)
            if not cell
        ]
        if change and change not in CHANGES:
            found.append(f"unknown change {change!r}; valid: {', '.join(CHANGES)}")
        if image and image == counterpart:
            found.append(f"{image} is its own counterpart; name two images")
        found += [
            fault for name in dict.fromkeys((image, counterpart)) if (fault := files.get(name))
        ]
        faults += [f"line {line}: {fault}" for fault in found]
    twice = np.flatnonzero(table.duplicated())
    faults += [f"line {row + FIRST_LINE}: repeats a pair; keep one of each" for row in twice]
    raise_faults(str(path), faults)
    return table


def index_pairs(path: str | Path, threads: int = 1) -> tuple[ImageIndex, pd.DataFrame]:
    """Read, decode and hash each image of a table of pairs once, and measure how they differ.

    Returns
    -------
    index
        Of the images by their path below the table's folder, sorted. All are of one class, `pair`:
        what a changed image is of, nobody says.
    pairs
        A row for each of the table: `image` and `counterpart`, int32 ids of the index; `node` and
        `change` as they were; `pixel_change`, the mean absolute difference of the pixels, 0 to 1,
        NaN if the images differ in size.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_pairs`; or lists every image that does not decode, and every pair of equal images.
    """
    table = read_pairs(path)
    source, names = ImageFolder(str(Path(path).parent)), sorted(_images(table))

    def look(name: str) -> tuple[bytes, str]:
        content = Path(source.folder, name).read_bytes()
        try:
            decode_image(content)
        except ValueError as error:
            return bytes(SHA256_BYTES), f"{source.locate(name)}: {error}; replace it"
        return sha256_of(content), ""

    with ThreadPoolExecutor(threads) as pool:
        looked = [*progress(pool.map(look, names), len(names), "indexing pairs")]
        raise_faults(str(path), [fault for _, fault in looked if fault])
        index = ImageIndex(
            paths=np.array(names, np.dtypes.StringDType()),
            labels=np.zeros(len(names), np.int32),
            wnids=["pair"],
            sha256=np.frombuffer(b"".join(digest for digest, _ in looked), np.uint8).reshape(
                len(names), SHA256_BYTES
            ),
        )
        number = {name: row for row, name in enumerate(names)}
        pairs = table.assign(
            image=table["image"].map(number).astype(np.int32),
            counterpart=table["counterpart"].map(number).astype(np.int32),
        )
        ends = pairs[["image", "counterpart"]].to_numpy()
        raise_faults(str(path), _equal(ends, index))
        unique, row_of = np.unique(ends, axis=0, return_inverse=True)
        differences = pool.map(lambda pair: _difference(source, index, *pair), unique)
        change = np.array([*progress(differences, len(unique), "comparing pairs")])
    return index, pairs.assign(pixel_change=change[row_of.ravel()])


def _images(table: pd.DataFrame) -> set[str]:
    return {name for name in (*table["image"], *table["counterpart"]) if name}


def _fault_of(path: Path, inside: Path) -> str:
    """Say what is wrong with an image's path, without opening it; empty if nothing is."""
    if not path.resolve().is_relative_to(inside):
        return f"{path} leads out of the folder of the table; put the image within it"
    if not is_image(path.name):
        return f"{path} is no image by its name; correct it"
    return "" if path.is_file() else f"{path} does not exist; add it, or correct the path"


def _equal(ends: np.ndarray, index: ImageIndex) -> list[str]:
    same = (index.sha256[ends[:, 0]] == index.sha256[ends[:, 1]]).all(1)
    return [
        f"line {row + FIRST_LINE}: {index.paths[first]} and {index.paths[second]} are the same "
        "image; correct one"
        for row, (first, second) in enumerate(ends)
        if same[row]
    ]


def _difference(source: ImageFolder, index: ImageIndex, image: int, counterpart: int) -> float:
    first, second = (
        np.asarray(decode_image(source.read_checked(index, row)), np.float64)
        for row in (image, counterpart)
    )
    return float(np.abs(first - second).mean() / 255) if first.shape == second.shape else np.nan
