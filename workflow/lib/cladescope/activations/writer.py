"""Activation stores: writing. Shards are collected in a scratch folder and published together.

A shard is first written to a scratch folder, with a sidecar file that says what it was made from.
When a killed job runs again, it finds its finished shards there and computes only the others. Once
all are there, from one job or several, they are linked into the store, the manifest declares the
store complete, and the scratch folder is removed. Snakemake only knows the manifest, and deletes it
before it runs a job again.
"""

import json
import logging
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import zarr
from jaxtyping import Shaped
from zarr.codecs import Crc32cCodec

from cladescope.activations.statistics import Statistics
from cladescope.activations.store import CHECKSUM_BYTES, FORMAT, ShardPlan, chunk_name
from cladescope.files import read_json, write_json
from cladescope.images.index import ImageIndex
from cladescope.machines import has_gpu, machine

SEALED = "seal"
"""In a sidecar, the crc32c of everything else in it."""


def scratch_of(manifest: Path) -> Path:
    """Return the folder in which a store's shards are collected."""
    return manifest.with_name(f".{manifest.stem}.partial")


def remove_scratch(manifest: Path) -> None:
    """Remove the folder once its shards are in the store.

    Without complaint if something stays: whoever waits for the folder may just be locking it, and
    will remove it in turn.
    """
    shutil.rmtree(scratch_of(manifest), ignore_errors=True)


class ActivationWriter:
    """Writes one layer's activations of one token kind; its shards must be claimed."""

    def __init__(
        self,
        manifest: Path,
        plan: ShardPlan,
        key: str,
        threads: int = 1,
        shards: Collection[int] | None = None,
    ):
        """Find the shards that an earlier job finished.

        Parameters
        ----------
        manifest
            Where the manifest goes; the array lies beside it.
        key
            Stands for everything that the values depend on. Shards in the scratch folder that
            were made from something else, or are damaged, are dropped.
        threads
            Of the job; the manifest states them.
        shards
            Those to write, if not all; the files of others are left alone.
        """
        self.manifest = manifest
        self.plan = plan
        self.key = key
        self.threads = threads
        self.scratch = scratch_of(manifest)
        self._open: _PartialShard | None = None
        self.done: dict[int, dict[str, Any]] = {}
        if not manifest.exists():
            # What is left of an earlier store, whose manifest Snakemake has deleted.
            shutil.rmtree(manifest.with_suffix(".zarr"), ignore_errors=True)
        self.shards = range(plan.n_shards) if shards is None else shards
        all_here = len(self.shards) == plan.n_shards
        self.finished = all_here and manifest.exists() and _key_of(manifest) == key
        """Whether another process, which was waited for, has made the whole store from the same."""
        for shard in self.shards:
            sidecar = self._finished(shard)
            if sidecar:
                self.done[shard] = sidecar
        kept = {path for shard in self.done for path in self._paths(shard)}
        others = {str(shard) for shard in range(plan.n_shards) if shard not in self.shards}
        for path in self.scratch.iterdir():
            # `7`, `7.json`, and both while they are written: `7.partial`, `.7.json.partial`.
            about = path.name.removeprefix(".").partition(".")[0]
            if path not in kept and about not in {"lock", *others}:
                path.unlink(missing_ok=True)

    def lacks(self, shard: int) -> bool:
        """Say whether a shard is to be written."""
        return not self.finished and shard in self.shards and shard not in self.done

    def append(
        self, shard: int, values: Shaped[np.ndarray, "rows tokens width"], statistics: Statistics
    ) -> None:
        """Add the next rows of a shard; with its last row the shard is complete.

        Raises
        ------
        OSError
            With the file's name when the disk is full.
        """
        data, sidecar = self._paths(shard)
        if self._open is None:
            self._open = _PartialShard(data, values.shape[1:], values.dtype)
        self._open.append(values, statistics)
        if self._open.rows == len(self.plan.rows(shard)):
            about = self._open.close(self.plan.rows_per_shard)
            about["machine"] = machine(self.threads, has_gpu())
            about = {"key": self.key, **about}
            write_json(sidecar, {**about, SEALED: _seal(about)})
            self.done[shard] = about
            self._open = None

    def finish(
        self,
        made_from: dict[str, Any],
        index: ImageIndex,
        positions: Shaped[np.ndarray, "images tokens"] | None,
    ) -> None:
        """Assemble the store, all of whose shards this writer has, and clear up."""
        if not self.finished:
            shards = [self.done[shard] for shard in range(self.plan.n_shards)]
            assemble(self.manifest, shards, made_from, index, positions, self.key)
        remove_scratch(self.manifest)

    def replace(self, shards: list[int]) -> list[str]:
        """Replace damaged shards of a finished store.

        Returns
        -------
        list of str
            The shards that do not come out as the manifest says, which stay as they were.
        """
        expected = read_json(self.manifest)["shards"]
        faults = []
        for shard in shards:
            chunk = self.manifest.with_suffix(".zarr") / chunk_name(shard)
            if self.done[shard]["crc32c"] == expected[shard]["crc32c"]:
                chunk.parent.mkdir(parents=True, exist_ok=True)
                self._paths(shard)[0].replace(chunk)
            else:
                faults.append(
                    f"{chunk} comes out differently here (other hardware or library versions than "
                    f"the manifest's); delete {self.manifest} to extract all of it again"
                )
        remove_scratch(self.manifest)
        return faults

    def _paths(self, shard: int) -> tuple[Path, Path]:
        return self.scratch / str(shard), self.scratch / f"{shard}.json"

    def _finished(self, shard: int) -> dict[str, Any] | None:
        """Return a shard's sidecar if the shard is complete, undamaged and made from the same."""
        data, sidecar = self._paths(shard)
        if not sidecar.is_file():
            return None
        try:
            about = read_json(sidecar)
            sealed = about.pop(SEALED) == _seal(about)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Empty or zeros, after a loss of power.
            sealed = False
        if not sealed:
            logging.warning("%s is damaged; its shard is made again", sidecar)
            return None
        return about if about["key"] == self.key and _is_whole(data, about) else None


def _key_of(manifest: Path) -> str | None:
    """Return what a store was made from, as its writer's key; None if it does not say."""
    try:
        return read_json(manifest.with_suffix(".zarr") / "zarr.json")["attributes"]["key"]
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _seal(about: dict[str, Any]) -> str:
    """Return the crc32c of what a sidecar says."""
    return f"{google_crc32c.value(json.dumps(about, sort_keys=True).encode()):08x}"


def assemble(
    manifest: Path,
    shards: Sequence[dict[str, Any]],
    made_from: dict[str, Any],
    index: ImageIndex,
    positions: Shaped[np.ndarray, "images tokens"] | None,
    key: str,
) -> None:
    """Put a store together from the shards in its scratch folder, then write the manifest.

    The manifest holds no dates, so that the same activations make the same manifest.

    Parameters
    ----------
    shards
        What the writer's `done` says of each shard, in order.
    key
        The writer's; the store keeps it, so that a process that has waited for this one can tell
        whether it is what it was to make.

    Raises
    ------
    ValueError
        If a shard is gone from the scratch folder.
    """
    plan = ShardPlan(len(index), len(shards))
    tokens, width = shards[0]["shape"]
    shape, dtype = (plan.n_images, tokens, width), shards[0]["dtype"]
    folder = manifest.with_suffix(".zarr")
    sources = [scratch_of(manifest) / str(shard) for shard in range(plan.n_shards)]
    chunks = [folder / chunk_name(shard) for shard in range(plan.n_shards)]
    for source, chunk, about in zip(sources, chunks, shards, strict=True):
        # Moved there by a job that was killed before it had written the manifest.
        if not source.exists() and _is_whole(chunk, about):
            chunk.replace(source)
    gone = [str(source) for source in sources if not source.exists()]
    if gone:
        raise ValueError(
            f"{', '.join(gone)}: gone; delete {manifest.with_name(f'.{manifest.stem}.*-*.json')} "
            "and start again"
        )
    shutil.rmtree(folder, ignore_errors=True)
    attributes = {"format": FORMAT, "made_from": made_from, "wnids": index.wnids, "key": key}
    group = zarr.create_group(folder, attributes=attributes)
    _create_array(group, "values", shape, (plan.rows_per_shard, tokens, width), dtype)
    _write_array(group, "image", np.arange(plan.n_images, dtype=np.int32))
    _write_array(group, "label", index.labels.astype(np.int32))
    if positions is not None:
        _write_array(group, "position", positions)
    for source, chunk in zip(sources, chunks, strict=True):
        chunk.parent.mkdir(parents=True)
        _link(source, chunk)
    statistics = Statistics.from_json(shards[0]["statistics"])
    for about in shards[1:]:
        statistics = statistics.merge(Statistics.from_json(about["statistics"]))
    write_json(
        manifest,
        {
            "format": FORMAT,
            "array": folder.name,
            "dtype": dtype,
            "shape": shape,
            "rows_per_shard": plan.rows_per_shard,
            "shards": [
                {"rows": len(plan.rows(shard)), "crc32c": about["crc32c"]}
                for shard, about in enumerate(shards)
            ],
            "statistics": statistics.summary(),
            "made_from": made_from,
            # More than one, if jobs ran on several machines, or one went on on another.
            "machines": sorted({about["machine"] for about in shards}),
        },
    )


class _PartialShard:
    """A chunk file that is being written, under another name until it is complete."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype):
        self.path = path
        self.aside = path.with_name(f"{path.name}.partial")
        self.shape = shape
        self.dtype = dtype
        self.rows = 0
        self.checksum = 0
        self.statistics: Statistics | None = None
        # Stays open: batches are appended one by one.
        self.file: BinaryIO = self.aside.open("wb")

    def append(self, values: np.ndarray, statistics: Statistics) -> None:
        self._write(np.ascontiguousarray(values))
        self.rows += len(values)
        merged = self.statistics.merge(statistics) if self.statistics else statistics
        self.statistics = merged

    def close(self, rows: int) -> dict[str, Any]:
        """Pad to `rows`, add the checksum, move into place; return what the sidecar says."""
        assert self.statistics is not None
        self._write(np.zeros((rows - self.rows, *self.shape), self.dtype))
        self._guard(lambda: self.file.write(self.checksum.to_bytes(CHECKSUM_BYTES, "little")))
        self._guard(self.file.flush)
        os.fsync(self.file.fileno())
        self.file.close()
        self.aside.replace(self.path)
        return {
            "shape": list(self.shape),
            "dtype": str(self.dtype),
            "crc32c": f"{self.checksum:08x}",
            "statistics": self.statistics.to_json(),
        }

    def _write(self, values: np.ndarray) -> None:
        content = values.tobytes()
        self.checksum = google_crc32c.extend(self.checksum, content)
        self._guard(lambda: self.file.write(content))

    def _guard(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            # A full disk is noticed by write(), which knows no file name.
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def zarr_fault(folder: Path) -> str | None:
    """Return what keeps zarr from reading a store, apart from its values; None if nothing does."""
    try:
        arrays = dict(zarr.open_group(folder, mode="r").arrays())
        for name, array in arrays.items():
            if name != "values":
                array[...]
        lacking = {"values", "image", "label"} - set(arrays)
        if lacking:
            return f"{folder} lacks the array {', '.join(sorted(lacking))}"
    except (OSError, ValueError, KeyError) as error:
        return f"{folder} cannot be read by zarr ({error})"
    return None


def _is_whole(data: Path, about: dict[str, Any]) -> bool:
    """Read a shard: a machine that died may have lost what it had not yet written to the disk."""
    if not data.is_file():
        return False
    payload = data.read_bytes()[:-CHECKSUM_BYTES]
    return f"{google_crc32c.value(payload):08x}" == about["crc32c"]


def _create_array(
    group: zarr.Group, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: Any
) -> zarr.Array:
    dimensions = {1: ("image",), 2: ("image", "token"), 3: ("image", "token", "width")}
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=[Crc32cCodec()],
        dimension_names=dimensions[len(shape)],
        config={"write_empty_chunks": True},
    )


def _write_array(group: zarr.Group, name: str, values: np.ndarray) -> None:
    _create_array(group, name, values.shape, values.shape, values.dtype)[...] = values


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file, so that the shard is kept if the job is killed right here."""
    try:
        os.link(source, target)
    except OSError:
        # Without hard links, a job killed here loses the shards moved so far.
        source.replace(target)
