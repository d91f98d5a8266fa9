"""Masks of a dataset's evaluation images: files of class numbers, and what the numbers mean.

A mask is a picture with one channel, as large as its image, whose pixels are numbers of a table
(ADE20K's layout). It has the path of its image below a folder of its own, ending in `.png`.
"""

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int
from PIL import Image

from cladescope.files import read_json, read_text, reading, write_aside, write_json
from cladescope.images.classes import WNID
from cladescope.images.index import ImageIndex, decode_image, sha256_of
from cladescope.images.sources.base import ImageSource
from cladescope.images.sources.faults import raise_faults
from cladescope.images.sources.label_files import parse_table
from cladescope.jobs import progress

MODES = ("1", "L", "P", "I;16", "I")
"""Of pictures whose pixels are numbers; those of a palette are not looked up."""
LARGEST = 2**16 - 1
NOTHING = -1


class MaskTable(NamedTuple):
    """What the numbers in masks stand for."""

    classes: dict[int, str]
    """By number a wnid, or the name of a class that has none; "" for nothing."""
    loose: tuple[str, ...]
    """The names, sorted."""

    @property
    def wnids(self) -> list[str]:
        """The classes that have a place in a taxonomy, sorted."""
        return sorted({*self.classes.values()} - {"", *self.loose})


def read_mask_table(path: str | Path, own_ids: bool = False) -> MaskTable:
    """Read what each number in a mask stands for.

    Parameters
    ----------
    path
        CSV with the columns `index` and `wnid` or `name`, or both: the wnid counts where there is
        one. A row with neither is a number that stands for nothing (VOC's 255), as 0 does unless
        the table says otherwise. Several numbers may stand for the same class.
    own_ids
        Whether `wnid` holds ids of the user's own taxonomy, which may be any text.

    Raises
    ------
    FileNotFoundError, ValueError
        Names the file and every row with a fault.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; correct the dataset's masks.table")
    table = parse_table(path, read_text(path))
    if "index" not in table or not {"wnid", "name"} & set(table):
        raise ValueError(
            f"{path} has the columns {', '.join(table.columns)}; name index, and wnid or name"
        )
    empty = pd.Series([""] * len(table))
    classes: dict[int, str] = {0: ""}
    faults, seen, loose = [], set(), set()
    cells = zip(table["index"], table.get("wnid", empty), table.get("name", empty), strict=True)
    for number, (index, wnid, name) in enumerate((map(str.strip, row) for row in cells), start=2):
        if not (index.isascii() and index.isdigit() and int(index) <= LARGEST):
            faults.append(f"line {number}: index {index!r} is no number from 0 to {LARGEST}")
        elif index in seen:
            faults.append(f"line {number}: index {index} is in several rows; keep one")
        elif wnid and not (own_ids or WNID.fullmatch(wnid)):
            faults.append(f"line {number}: {wnid!r} is not a WordNet id such as n02084071")
        else:
            classes[int(index)] = wnid or name
            loose |= {name} if name and not wnid else set()
        seen.add(index)
    if not any(classes.values()):
        faults.append("no index stands for a class; give a wnid or a name")
    raise_faults(str(path), faults)
    return MaskTable(classes, tuple(sorted(loose)))


def index_masks(
    index: ImageIndex,
    source: ImageSource,
    folder: str | Path,
    classes: Mapping[int, str],
    threads: int = 1,
) -> pa.Table:
    """Read and hash the mask of each image once.

    Parameters
    ----------
    classes
        As in `MaskTable`.

    Returns
    -------
    The columns `image_id` and `sha256` (32 bytes) of each mask.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        Lists every mask that is missing, does not decode, differs from its image in size or has a
        number that the table lacks; or says that no mask shows any class.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; set the dataset's masks.folder")
    known = np.zeros(LARGEST + 1, bool)
    known[[*classes]] = True
    named = np.zeros(LARGEST + 1, bool)
    named[[number for number, name in classes.items() if name]] = True

    def look(row: int) -> tuple[bytes, str, bool]:
        path = folder / mask_path(str(index.paths[row]))
        try:
            content = path.read_bytes()
            numbers = decode_mask(content)
        except FileNotFoundError:
            return b"", f"{path}: missing; add the mask of {source.locate(index.paths[row])}", False
        except (OSError, ValueError) as error:
            return b"", f"{path}: {error}; replace it", False
        width, height = decode_image(source.read_checked(index, row)).size
        if numbers.shape != (height, width):
            shown = f"{numbers.shape[1]} × {numbers.shape[0]}"
            return b"", f"{path}: {shown} pixels, its image {width} × {height}", False
        found = np.unique(numbers)
        if unknown := found[~known[found]].tolist():
            listed = ", ".join(map(str, unknown[:10]))
            return b"", f"{path}: has {listed}, which masks.table lacks; add it there", False
        return sha256_of(content), "", bool(named[found].any())

    with ThreadPoolExecutor(threads) as pool:
        rows = range(len(index))
        looked = [*progress(pool.map(look, rows), len(index), "reading masks")]
    raise_faults(str(folder), [fault for _, fault, _ in looked if fault])
    if not any(shows for *_, shows in looked):
        raise ValueError(
            f"no mask in {folder} shows a class of masks.table; are they the right ones?"
        )
    return pa.table(
        {
            "image_id": pa.array(np.arange(len(index), dtype=np.int32)),
            "sha256": pa.array([digest for digest, *_ in looked], pa.binary(32)),
        }
    )


def mask_path(image: str) -> str:
    """Return the path of an image's mask below the folder of masks."""
    return PurePosixPath(image).with_suffix(".png").as_posix()


def decode_mask(content: bytes) -> Int[np.ndarray, "height width"]:
    """Return the numbers of a mask, as they are stored.

    Raises
    ------
    ValueError
        Says why they cannot be read.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.load()
            mode, numbers = image.mode, np.asarray(image)
    except Exception as error:
        # Whatever Pillow raises on a broken file; its message may hold the address of a buffer.
        raise ValueError("does not decode as PNG") from error
    if mode not in MODES:
        raise ValueError(f"mode {mode} holds colours; write one channel of class numbers")
    numbers = numbers.astype(np.int64)
    if numbers.min() < 0 or numbers.max() > LARGEST:
        raise ValueError(f"numbers from {numbers.min()} to {numbers.max()}; 0 to {LARGEST} can be")
    return numbers


def save_masks(
    table: pa.Table, classes: Mapping[int, str], folder: str | Path, path: str | Path
) -> None:
    """Write what `index_masks` returns (Parquet), and beside it where the masks are.

    As with images, the place is an input of nobody: a dataset may be moved.
    """
    table = table.replace_schema_metadata({"classes": json.dumps({**classes}, sort_keys=True)})
    with write_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd")
    write_json(folder_path(path), {"folder": str(folder)})


def folder_path(path: str | Path) -> Path:
    """Return where it is written in which folder the masks are."""
    return Path(path).with_suffix(".source.json")


@dataclass(frozen=True, eq=False)
class MaskFolder:
    """Masks that were indexed."""

    folder: Path
    paths: np.ndarray
    """StringDType (images,): of the images."""
    sha256: list[bytes]
    number_to_class: Int[np.ndarray, " numbers"]
    """Position of each number's class in `classes`, −1 for nothing."""

    @classmethod
    def load(cls, path: str | Path, index: ImageIndex, classes: Sequence[str]) -> "MaskFolder":
        """Read what `save_masks` wrote; `classes` are those that the masks are to be told in."""
        with reading(path):
            table = pq.read_table(path)
            named = json.loads(table.schema.metadata[b"classes"])
        position = {name: number for number, name in enumerate(classes)}
        number_to_class = np.full(LARGEST + 1, NOTHING)
        for number, name in named.items():
            number_to_class[int(number)] = position.get(name, NOTHING)
        folder = Path(read_json(folder_path(path))["folder"])
        return cls(folder, index.paths, table["sha256"].to_pylist(), number_to_class)

    def read(self, image: int) -> Int[np.ndarray, "height width"]:
        """Return the class of each pixel, −1 where there is none.

        Raises
        ------
        ValueError
            If the mask is gone or is not the one that was indexed.
        """
        path = self.folder / mask_path(str(self.paths[image]))
        content = path.read_bytes() if path.is_file() else None
        if content is None or sha256_of(content) != self.sha256[image]:
            raise ValueError(
                f"{path} {'is gone' if content is None else 'is not the mask that was indexed'}; "
                "put it back, or delete the dataset's images/eval.masks.parquet to read masks again"
            )
        return self.number_to_class[decode_mask(content)]
