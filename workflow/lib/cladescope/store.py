"""Activation stores: a zarr 3 array per layer, one raw checksummed chunk file per image shard.

The format is described in docs/store.md. Only this module knows zarr.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from jaxtyping import Float, Shaped

from cladescope.files import read_json, write_json

CHECKSUM_BYTES = 4
FORMAT = "cladescope-activations-1"


@dataclass(frozen=True)
class ShardPlan:
    """How images are split over chunk files; the last shard may hold fewer rows."""

    n_images: int
    n_shards: int

    def __post_init__(self) -> None:
        if self.rows_per_shard * (self.n_shards - 1) >= self.n_images:
            raise ValueError(
                f"extraction.shards: {self.n_shards} shards leave one without images "
                f"({self.n_images} images); the nearest valid number is "
                f"{math.ceil(self.n_images / self.rows_per_shard)}"
            )

    @property
    def rows_per_shard(self) -> int:
        """Rows of every chunk but the last, which is padded with zeros to this length."""
        return math.ceil(self.n_images / self.n_shards)

    def rows(self, shard: int) -> range:
        """Image ids of one shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.n_images))


class ActivationWriter:
    """Writes the shards of one layer, then the manifest that declares them complete."""

    def __init__(self, folder: Path, plan: ShardPlan, tokens: int, width: int, precision: str):
        # Imported here: readers, of which a sweep has hundreds, do without.
        import zarr
        from zarr.codecs import Crc32cCodec

        self.folder = folder
        self.plan = plan
        self.limit = float(np.finfo(precision).max)
        self._array = zarr.create_array(
            store=folder,
            shape=(plan.n_images, tokens, width),
            chunks=(plan.rows_per_shard, tokens, width),
            dtype=precision,
            compressors=[Crc32cCodec()],
            dimension_names=("image", "token", "width"),
            config={"write_empty_chunks": True},
            overwrite=True,
        )
        self._sum = np.zeros(width)
        self._square_sum = 0.0
        self._max = 0.0

    def write_shard(self, shard: int, values: Float[np.ndarray, "rows tokens width"]) -> None:
        """Write one shard.

        Raises
        ------
        ValueError
            If a value is not finite or overflows the precision; names the image and the value.
        """
        magnitude = np.abs(values)
        fits = magnitude <= self.limit
        if not fits.all():
            row, token, _ = np.argwhere(~fits)[0]
            value = values[~fits].flat[0]
            raise ValueError(
                f"{self.folder.name}: image {self.plan.rows(shard)[row]}, token {token} has the "
                f"value {value}, beyond {self._array.dtype} (largest {self.limit:g}); set "
                "extraction.precision to float32, or check the weights if the value is not finite"
            )
        rows = self.plan.rows(shard)
        values = values.astype(self._array.dtype)
        self._array[rows.start : rows.stop] = values
        self._sum += values.sum((0, 1), dtype=np.float64)
        self._square_sum += float(np.square(values, dtype=np.float64).sum())
        self._max = max(self._max, float(np.abs(values).max()))

    def finish(self, manifest: Path, identity: dict[str, Any]) -> None:
        """Check what lies on disk and write the manifest: identity, layout, checksums, statistics.

        The manifest holds no dates, so that the same activations make the same manifest.
        """
        n, tokens, width = self._array.shape
        mean = self._sum / (n * tokens)
        layout = {
            "format": FORMAT,
            "array": self.folder.name,
            "dtype": str(self._array.dtype),
            "shape": [n, tokens, width],
            "rows_per_shard": self.plan.rows_per_shard,
        }
        shards = []
        for shard in range(self.plan.n_shards):
            values, checksum = _read_chunk(manifest.parent, layout, shard)
            shards.append({"rows": len(self.plan.rows(shard)), "crc32c": f"{checksum:08x}"})
            del values
        statistics = {
            "mean_norm": float(np.linalg.norm(mean)),
            "rms": math.sqrt(self._square_sum / (n * tokens * width)),
            "max": self._max,
        }
        write_json(
            manifest, {**layout, "shards": shards, "statistics": statistics, "made_from": identity}
        )


def chunk_path(array: str, shard: int) -> str:
    """Path of one shard's chunk file in zarr 3's default layout."""
    return f"{array}/c/{shard}/0/0"


def read_activations(manifest: str | Path) -> Shaped[np.ndarray, "images tokens width"]:
    """Read a layer's activations into memory, verifying every shard.

    Raises
    ------
    FileNotFoundError, ValueError
        If a shard is missing, of the wrong size or damaged; names the file and what to do.
    """
    manifest = Path(manifest)
    layout = read_json(manifest)
    if layout.get("format") != FORMAT:
        raise ValueError(f"{manifest} is not a manifest of format {FORMAT}; extract again")
    values = np.empty(layout["shape"], layout["dtype"])
    for number, shard in enumerate(layout["shards"]):
        chunk, checksum = _read_chunk(manifest.parent, layout, number)
        if f"{checksum:08x}" != shard["crc32c"]:
            raise ValueError(_damaged(manifest.parent, layout, number, "is not the one extracted"))
        start = number * layout["rows_per_shard"]
        values[start : start + shard["rows"]] = chunk[: shard["rows"]]
    return values


def _read_chunk(
    folder: Path, layout: dict[str, Any], shard: int
) -> tuple[Shaped[np.ndarray, "rows tokens width"], int]:
    """Return a chunk's values (a read-only view of its bytes) and its verified crc32c."""
    path = folder / chunk_path(layout["array"], shard)
    if not path.is_file():
        raise FileNotFoundError(_damaged(folder, layout, shard, "is missing"))
    content = path.read_bytes()
    shape = (layout["rows_per_shard"], *layout["shape"][1:])
    payload = content[:-CHECKSUM_BYTES]
    if len(payload) != math.prod(shape) * np.dtype(layout["dtype"]).itemsize:
        raise ValueError(_damaged(folder, layout, shard, "has the wrong size"))
    checksum = google_crc32c.value(payload)
    if checksum != int.from_bytes(content[-CHECKSUM_BYTES:], "little"):
        raise ValueError(_damaged(folder, layout, shard, "fails its checksum"))
    return np.frombuffer(payload, layout["dtype"]).reshape(shape), checksum


def _damaged(folder: Path, layout: dict[str, Any], shard: int, what: str) -> str:
    path = folder / chunk_path(layout["array"], shard)
    manifest = folder / (Path(layout["array"]).stem + ".json")
    return (
        f"{path} {what}; delete {manifest} and run snakemake with that file as its target, which "
        "makes its pass again, then as before: what was trained from the sound shard stays "
        "(with extraction.protect, first make the pass's files writable)"
    )
