"""A labelled image collection as arrays (its index), and how an image's bytes become pixels."""

import hashlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import ExifTags, Image, UnidentifiedImageError

from cladescope.files import reading, write_aside

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000")
"""Formats that are decoded. Pillow's other plugins are rarely used and less tested; EPS starts a
program."""
EXTENSIONS = frozenset(
    suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS
)
SHA256_BYTES = 32

# How to turn an image whose EXIF orientation is 2..8 upright (EXIF 2.32, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """The images of one split, in the order of every array that is made from them.

    The row number is the image id. Arrays throughout: worker processes share them without copies.
    """

    paths: np.ndarray
    """StringDType (images,): path of each image within its source."""
    labels: np.ndarray
    """int32 (images,): position of each image's class in `wnids`."""
    wnids: list[str]
    """Class of each label, sorted."""
    sha256: np.ndarray
    """uint8 (images, 32): hash of each image file's bytes."""
    spans: np.ndarray | None = None
    """int64 (images, 2): offset and size in bytes within a tar file; None for other sources."""

    def __len__(self) -> int:
        return len(self.paths)

    def digest(self) -> str:
        """Return a hash of what the index says: paths, classes and contents, in their order."""
        digest = hashlib.sha256("\n".join([*self.wnids, *self.paths]).encode())
        digest.update(self.labels.astype("<i4").tobytes())
        digest.update(self.sha256.tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write a parquet file: image_id, path, wnid, label, sha256 and, for tars, offset, size."""
        columns = {
            "image_id": pa.array(np.arange(len(self), dtype=np.int32)),
            "path": pa.array(self.paths),
            "wnid": pa.DictionaryArray.from_arrays(self.labels, self.wnids).cast(pa.string()),
            "label": pa.array(self.labels),
            "sha256": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(SHA256_BYTES), len(self), [None, pa.py_buffer(self.sha256)]
            ),
        }
        if self.spans is not None:
            columns["offset"], columns["size"] = (pa.array(part) for part in self.spans.T)
        with write_aside(path) as aside:
            # Snakemake compares files by content up to 100 MB. ImageNet's 1.28 million rows take
            # 51 MB this way, 59 with spans; 41 of them are hashes.
            pq.write_table(
                pa.table(columns),
                aside,
                compression="zstd",
                use_dictionary=["wnid", "label"],
            )

    @classmethod
    def load(cls, path: str | Path) -> "ImageIndex":
        """Read an index that `save` wrote."""
        with reading(path):
            table = pq.read_table(path)
            hashes = table["sha256"].combine_chunks().cast(pa.binary(SHA256_BYTES))
            packed = "offset" in table.column_names
            return cls(
                paths=table["path"].to_numpy().astype(np.dtypes.StringDType()),
                labels=table["label"].to_numpy(),
                wnids=sorted(table["wnid"].unique().to_pylist()),
                sha256=np.frombuffer(hashes.buffers()[1], np.uint8).reshape(-1, SHA256_BYTES),
                spans=np.stack([table[name].to_numpy() for name in ("offset", "size")], 1)
                if packed
                else None,
            )


def common_classes(indices: dict[str, ImageIndex]) -> list[str]:
    """Return the classes that all splits share.

    Raises
    ------
    ValueError
        Lists classes that a split lacks; or if there is only one, of which nothing can be asked.
    """
    union = sorted({wnid for index in indices.values() for wnid in index.wnids})
    faults = [
        f"split {split} has no images of {', '.join(missing)}"
        for split, index in indices.items()
        if (missing := [wnid for wnid in union if wnid not in set(index.wnids)])
    ]
    if faults:
        raise ValueError("; ".join(faults) + "; every split needs the same classes")
    if len(union) < 2:
        raise ValueError(f"all images are of the class {union[0]}; a hierarchy needs several")
    return union


def check_shared_images(train: ImageIndex, evaluation: ImageIndex, action: str) -> None:
    """Look for evaluation images whose file is a training image, too, by their hashes.

    Parameters
    ----------
    action
        `warn`, in the job's log, or `fail`.

    Raises
    ------
    ValueError
        If there are any and they are to fail; names the first.
    """
    known = set(map(bytes, train.sha256))
    shared = [row for row, digest in enumerate(map(bytes, evaluation.sha256)) if digest in known]
    if not shared:
        return
    message = (
        f"{len(shared)} of {len(evaluation)} evaluation images are training images, too, such as "
        f"{evaluation.paths[shared[0]]}: scores on them are not held out"
    )
    if action == "fail":
        raise ValueError(f"{message}; remove them, or set the dataset's on_shared_image to warn")
    logging.warning(message)


def decode_image(content: bytes) -> Image.Image:
    """Decode a file's bytes into an upright 8-bit RGB image; docs/images.md lists every case.

    Raises
    ------
    ValueError
        Says why the bytes do not decode.
    """
    if not content:
        raise ValueError("does not decode (the file is empty)")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            return _upright(_to_rgb(image), _orientation(image))
    except UnidentifiedImageError as error:
        # Pillow's own message holds the address of a buffer, which differs from run to run.
        raise ValueError(f"does not decode (none of the formats {', '.join(FORMATS)})") from error
    except Exception as error:
        # Whatever a plugin raises on a broken file: struct.error, IndexError, KeyError and more.
        raise ValueError(f"does not decode ({error or type(error).__name__})") from error


def is_image(name: str) -> bool:
    """Return whether a file is an image, by the extension of its name."""
    return PurePosixPath(name).suffix.lower() in EXTENSIONS


def sha256_of(content: bytes) -> bytes:
    """Return the hash by which an image is recognised."""
    return hashlib.sha256(content).digest()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_16_bit(image).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale grey levels 0..65535 to 0..255; Pillow's own conversion clips them instead."""
    levels = np.asarray(image)
    if levels.dtype.kind not in "iu" or levels.min() < 0 or levels.max() > 65535:
        raise ValueError(f"mode {image.mode} with values from {levels.min()} to {levels.max()}")
    # 257 = 65535 / 255, rounded to the nearest.
    return Image.fromarray(((levels.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Broken EXIF is common and the pixels are sound.
        return None


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
