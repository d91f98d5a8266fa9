"""Seals: a checksum beside every file that a job makes, which every job checks that reads it.

The seal of `codes.parquet` is `.codes.parquet.seal`, JSON: how many bytes the file has and their
crc32c, and of what it is the seal, the file's place in the results, so that files of two
dictionaries cannot change places. A folder has one seal for all files in it. Seals go along with
the folder that they lie in; they are neither inputs nor outputs of rules. Shards of activations
have checksums of their own, in their store's manifest.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c

from cladescope.files import write_json
from cladescope.layout import place_in_results

FORMAT = "cladescope-seal-1"
BLOCK = 2**22
"""Bytes that are read at a time."""


def seal_of(path: str | Path) -> Path:
    """Return where the seal of a file or folder lies."""
    path = Path(path)
    return path.with_name(f".{path.name}.seal")


def seal(path: str | Path) -> None:
    """Write the seal of a file or folder."""
    write_json(seal_of(path), _describe(Path(path)))


def check_seal(path: str | Path) -> None:
    """Compare a file or folder with its seal.

    Raises
    ------
    ValueError
        If it is not what was sealed, or nothing was; names the file and what to do.
    """
    path, place = Path(path), seal_of(path)
    advice = f"delete {path} and run again"
    try:
        expected = json.loads(place.read_text())
    except FileNotFoundError:
        raise ValueError(
            f"{path} has no seal: no job has made it, or it was copied without hidden files; "
            f"{advice}, or accept it as it is: cladescope seal {path}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{place} is damaged ({error}); {advice}") from error
    found = _describe(path)
    if not isinstance(expected, dict) or expected.get("format") != FORMAT:
        raise ValueError(f"{place} is damaged: not of format {FORMAT}; {advice}")
    if expected == found:
        return
    if expected.get("of") != found["of"]:
        raise ValueError(
            f"{path} has the seal of {expected.get('of')}: files have changed places; {advice}"
        )
    name = next(
        (n for n in found["files"] if found["files"][n] != expected.get("files", {}).get(n)),
        "a missing file",
    )
    what = path if name == path.name else f"{path} ({name})"
    raise ValueError(f"{what} is not what was sealed: damaged, edited or cut; {advice}")


def check_seals(paths: Iterable[str | Path], results: str | Path) -> None:
    """Compare those of some files and folders that lie below the results with their seals.

    What lies elsewhere is the user's. Raises ValueError as `check_seal` does.
    """
    # Not resolved: a folder of the results may be a link to another disk.
    root = Path(results).absolute()
    for path in dict.fromkeys(map(Path, paths)):
        if path.absolute().is_relative_to(root):
            check_seal(path)


def unseal(path: str | Path) -> None:
    """Remove the seal of a file that goes, too."""
    seal_of(path).unlink(missing_ok=True)


def _describe(path: Path) -> dict[str, Any]:
    # Snakemake leaves a hidden file in folders.
    inside = (file for file in path.rglob("*") if not file.name.startswith("."))
    files = sorted(inside) if path.is_dir() else [path]
    return {
        "format": FORMAT,
        "of": place_in_results(path),
        "files": {
            file.relative_to(path).as_posix() if path.is_dir() else file.name: _checksum(file)
            for file in files
            if file.is_file()
        },
    }


def _checksum(file: Path) -> list[Any]:
    """Return crc32c (hexadecimal) and number of bytes."""
    checksum = size = 0
    for block in _blocks(file):
        checksum = google_crc32c.extend(checksum, block)
        size += len(block)
    return [f"{checksum:08x}", size]


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            yield block
