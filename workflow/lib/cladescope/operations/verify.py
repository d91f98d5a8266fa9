"""Verification of every byte: of activations against their manifests, of all else by its seal."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cladescope.activations.store import ActivationStore
from cladescope.activations.writer import zarr_fault
from cladescope.jobs import progress
from cladescope.layout import BENCHMARKS, FOLDERS, LOGS
from cladescope.seals import check_seal
from cladescope.sweep import PassSpec, expand_passes


@dataclass(frozen=True)
class Fault:
    """One fault of a store."""

    job: PassSpec
    place: tuple[int, str]
    message: str
    shard: int | None = None
    """The damaged shard, where only a shard is, which can be computed again on its own."""


def outputs_of(results: Path) -> Iterator[Path]:
    """Yield what jobs have made below the results and sealed: files, and folders as a whole.

    Logs and benchmarks are not sealed; shards of activations have checksums in their manifest.
    """
    patterns = (re.sub(r"{\w+}", "*", pattern) for pattern in FOLDERS)
    folders = {path for p in patterns for path in results.glob(p) if path.is_dir()}
    yield from sorted(folders)
    for folder, below, names in os.walk(results, followlinks=True):
        here = Path(folder)
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".")
            and not name.endswith(".zarr")
            and here / name not in {*folders, results / LOGS, results / BENCHMARKS}
        )
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def verify_seals(results: str | Path) -> list[str]:
    """Check the seal of everything that has one, and return what is wrong."""
    wrong = []
    for path in outputs_of(Path(results)):
        try:
            check_seal(path)
        except ValueError as error:
            wrong.append(str(error))
    return wrong


def verify_activations(config: dict[str, Any], threads: int) -> list[Fault]:
    """Read every store of a configuration and return everything that is missing or damaged.

    Stores that were not extracted yet are faults, too.
    """
    results = Path(config["results"])
    checks = []
    faults = []
    for job in expand_passes(config):
        for place in job.places:
            manifest = results / job.manifest(place)
            if not manifest.is_file():
                faults.append(Fault(job, place, f"{manifest} is missing: not extracted"))
                continue
            try:
                store = ActivationStore.load(manifest)
            except ValueError as error:
                faults.append(Fault(job, place, str(error)))
                continue
            message = zarr_fault(store.folder)
            if message:
                again = f"{message}; delete {manifest} to extract it again"
                faults.append(Fault(job, place, again))
            checks += [(job, place, store, shard) for shard in range(store.plan.n_shards)]
    with ThreadPoolExecutor(threads) as pool:
        messages = pool.map(lambda check: check[2].fault(check[3]), checks)
        for (job, place, _, shard), message in zip(
            checks, progress(messages, len(checks), "verifying shards"), strict=True
        ):
            if message:
                faults.append(Fault(job, place, message, shard))
    return faults


def repair(config: dict[str, Any], faults: list[Fault], threads: int) -> list[str]:
    """Compute only the damaged shards again, and return what is still wrong."""
    # Imported here: verification needs neither torch nor a model.
    from cladescope.activations.extract import repair_activations
    from cladescope.activations.spec import Extraction, ExtractionSpec
    from cladescope.backbone.backbone import BackboneSpec
    from cladescope.images.index import ImageIndex
    from cladescope.images.sources import open_source

    left = [fault.message for fault in faults if fault.shard is None]
    results = Path(config["results"])
    jobs = {fault.job.stem: fault.job for fault in faults if fault.shard is not None}
    for stem, job in jobs.items():
        damaged: dict[tuple[int, str], tuple[Path, list[int]]] = {}
        for fault in faults:
            if fault.job.stem == stem and fault.shard is not None:
                entry = damaged.setdefault(fault.place, (results / job.manifest(fault.place), []))
                entry[1].append(fault.shard)
        index = results / job.index
        extraction = Extraction(
            ImageIndex.load(index),
            open_source(index),
            BackboneSpec(**job.backbone),
            ExtractionSpec.of(job.extraction),
            threads=threads,
        )
        left += repair_activations(extraction, damaged)
    return left
