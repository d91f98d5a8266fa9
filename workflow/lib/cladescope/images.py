"""Index of a labelled image collection: one row per image, checked and hashed."""

import hashlib
import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cladescope.files import write_aside
from cladescope.jobs import progress

WNID = re.compile(r"n\d{8}")
MAX_LISTED = 50


@dataclass(frozen=True)
class ImageIndex:
    """The images of one split, in the order of every array that is made from them.

    The row number is the image id.
    """

    paths: list[str]
    """Path of each image relative to the split's folder."""
    labels: np.ndarray
    """int32 (images,): position of each image's class in `wnids`."""
    wnids: list[str]
    """Class of each label, sorted."""
    sha256: list[str]
    """Hash of each image file's bytes."""

    def __len__(self) -> int:
        return len(self.paths)

    def digest(self) -> str:
        """Return a hash of what the index says: paths, classes and contents, in their order."""
        lines = zip(self.paths, self.labels.tolist(), self.sha256, strict=True)
        text = "\n".join(f"{path} {self.wnids[label]} {sha}" for path, label, sha in lines)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write a parquet file with columns image_id, path, wnid, label, sha256."""
        table = pa.table(
            {
                "image_id": pa.array(np.arange(len(self), dtype=np.int32)),
                "path": self.paths,
                "wnid": [self.wnids[label] for label in self.labels],
                "label": pa.array(self.labels),
                "sha256": self.sha256,
            }
        )
        with write_aside(path) as aside:
            pq.write_table(table, aside, compression="zstd")

    @classmethod
    def load(cls, path: str | Path) -> "ImageIndex":
        """Read what `save` wrote."""
        columns = pq.read_table(path).to_pydict()
        labels = np.array(columns["label"], dtype=np.int32)
        return cls(
            paths=columns["path"],
            labels=labels,
            wnids=sorted(set(columns["wnid"])),
            sha256=columns["sha256"],
        )


def index_images(folder: str | Path, threads: int = 1) -> ImageIndex:
    """Index a folder that holds one folder of images per wnid, decoding every file once.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or holds no class folder.
    ValueError
        Lists every folder that is not named by a wnid, every class folder without an image and
        every file that does not decode.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; set the dataset's folders in config")
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"{folder} holds no class folders; expected one per wnid")
    extensions = set(Image.registered_extensions())
    files = {
        entry.name: sorted(path for path in entry.rglob("*") if path.suffix.lower() in extensions)
        for entry in classes
    }
    faults = [
        f"{folder / name}: not a WordNet id such as n02084071; rename or remove the folder"
        for name in files
        if not WNID.fullmatch(name)
    ]
    faults += [
        f"{folder / name}: the class folder holds no image; add images or remove it"
        for name, paths in files.items()
        if not paths
    ]
    _raise_faults(folder, faults)
    paths = [path for group in files.values() for path in group]
    with ThreadPoolExecutor(threads) as pool:
        checked = list(progress(pool.map(_check_image, paths), len(paths), "indexing images"))
    _raise_faults(folder, [result for result in checked if result.startswith("fault:")])
    labels = np.repeat(np.arange(len(files)), [len(group) for group in files.values()])
    return ImageIndex(
        paths=[path.relative_to(folder).as_posix() for path in paths],
        labels=labels.astype(np.int32),
        wnids=list(files),
        sha256=checked,
    )


def decode_image(content: bytes) -> Image.Image:
    """Decode an image file."""
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def common_classes(indices: dict[str, ImageIndex]) -> list[str]:
    """Return the classes that all splits share; ValueError lists any that a split lacks."""
    union = sorted({wnid for index in indices.values() for wnid in index.wnids})
    faults = [
        f"split {split} has no images of {', '.join(missing)}"
        for split, index in indices.items()
        if (missing := [wnid for wnid in union if wnid not in set(index.wnids)])
    ]
    if faults:
        raise ValueError("; ".join(faults) + "; every split needs the same class folders")
    return union


def _check_image(path: Path) -> str:
    """Return the file's hash, or a line that starts with `fault:`."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"fault: {path}: does not decode ({error}); replace or remove the file"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _raise_faults(folder: Path, faults: list[str]) -> None:
    if faults:
        raise ValueError(
            f"{folder} has {len(faults)} fault(s):\n  " + "\n  ".join(_shorten(faults))
        )


def _shorten(lines: list[str]) -> Iterator[str]:
    yield from (line.removeprefix("fault: ") for line in lines[:MAX_LISTED])
    if len(lines) > MAX_LISTED:
        yield f"... and {len(lines) - MAX_LISTED} more"
