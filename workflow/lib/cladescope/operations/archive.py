"""A study in one file: tables, figures and what made them, with checksums, without activations."""

import gzip
import hashlib
import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cladescope.files import write_aside
from cladescope.operations.crate import METADATA, describe_crate

SHARED = ("tables", "figures")
CHECKSUMS = "SHA256SUMS"


def write_archive(config: dict[str, Any], documents: list[Path], path: str | Path) -> int:
    """Pack the results of a (complete) configuration into a `.tar.gz`; return how many files.

    In it are the tables, the figures, every experiment's `provenance.json`, the configuration with
    all defaults, `documents`, the metadata of an RO-Crate and `SHA256SUMS`, in one folder that is
    named as the archive. The same results, made on the same day, make the same bytes.

    Raises
    ------
    FileNotFoundError
        Names the results that are not there.
    """
    results, path = Path(config["results"]), Path(path)
    needed = [
        *(results / name for name in SHARED),
        *(results / name / "provenance.json" for name in config["experiments"]),
    ]
    missing = [str(file) for file in needed if not file.exists()]
    if missing:
        raise FileNotFoundError(
            f"{', '.join(missing)} not there; finish the run before archiving it"
        )
    files = [
        file
        for part in needed
        for file in ([part] if part.is_file() else sorted(part.rglob("*")))
        # Seals stay behind: the archive has checksums of its own.
        if file.is_file() and not file.name.startswith(".")
    ]
    content = {file.relative_to(results).as_posix(): file.read_bytes() for file in files}
    content["config.yaml"] = yaml.safe_dump(config, sort_keys=False).encode()
    content |= {f"docs/{file.name}": file.read_bytes() for file in documents}
    made = datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)
    folder = path.name.removesuffix(".tar.gz")
    day = made.date().isoformat()
    content[METADATA] = describe_crate(content, folder, day, config["datasets"])
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in content.items()]
    content[CHECKSUMS] = "".join(sums).encode()
    # Without times and owners, so that the same results make the same bytes.
    with (
        write_aside(path) as aside,
        aside.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, data in content.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return len(content)
