"""What a job has made is kept under a second name, so that the next job need not make it again.

Snakemake deletes all outputs of a job before it runs. A job that makes several dictionaries runs
again when one is added, or after one has failed; the others would be lost. So each dictionary's
outputs get a second name (a hard link, which takes no space) below the results' `.kept`, with a
seal: a key, which stands for all that they were made from, and their checksums. A job takes what
has its key and is undamaged. `.kept` can be left out of a copy, and deleted at any time.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cladescope.files import write_aside, write_json

FOLDER = ".kept"
SEAL = "seal.json"


def key_of(made_by: Any, inputs: Iterable[str | Path]) -> str:
    """Return what stands for a result: SHA-256 of its settings and of its inputs' content.

    Parameters
    ----------
    made_by
        What JSON can hold: options, fingerprints of code.
    """
    parts = [made_by, [_digest(Path(path)) for path in inputs]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Kept:
    """The outputs of one dictionary's stage, files or folders, under their second names.

    Parameters
    ----------
    results
        The results folder, above all outputs.
    """

    def __init__(self, results: str | Path, outputs: Sequence[str | Path], key: str):
        self._outputs = [Path(path) for path in outputs]
        first = os.path.relpath(self._outputs[0], results)
        self._folder = Path(results) / FOLDER / first
        self._key = key

    def take(self) -> bool:
        """Give the outputs their names again; False if they are not kept, changed or damaged."""
        try:
            seal = json.loads((self._folder / SEAL).read_text())
            if seal["key"] != self._key:
                return False
            checksums = {path: seal["sha256"][path.name] for path in self._outputs}
        except (OSError, ValueError, KeyError):
            return False
        for path, checksum in checksums.items():
            second = self._folder / path.name
            if not second.exists() or _fresh_digest(second) != checksum:
                logging.warning("%s is damaged and made again", second)
                return False
        try:
            for path in self._outputs:
                _link(self._folder / path.name, path)
        except OSError as error:
            # Another file system has been put where the outputs go, for one.
            logging.warning("%s cannot be taken (%s) and is made again", self._folder, error)
            return False
        logging.info("kept from an earlier job: %s", ", ".join(map(str, self._outputs)))
        return True

    def keep(self) -> None:
        """Give the outputs, which are complete, their second names."""
        try:
            with write_aside(self._folder) as aside:
                for path in self._outputs:
                    _link(path, aside / path.name)
                checksums = {path.name: _fresh_digest(path) for path in self._outputs}
                write_json(aside / SEAL, {"key": self._key, "sha256": checksums})
        except OSError as error:
            # A file system without hard links: the next job makes them again.
            logging.warning("%s is not kept for later jobs (%s)", self._outputs[0], error)


def unfinished(
    results: str | Path,
    outputs: Sequence[Sequence[str]],
    inputs: Sequence[Sequence[str]],
    made_by: Any,
) -> Iterator[int]:
    """Yield the number of each dictionary that has to be made, and keep what has been made.

    Parameters
    ----------
    outputs, inputs
        Of each dictionary the files that its stage writes, and all that it reads.
    """
    for number, (written, read) in enumerate(zip(outputs, inputs, strict=True)):
        kept = Kept(results, written, key_of(made_by, read))
        if not kept.take():
            yield number
            kept.keep()


def _link(source: Path, target: Path) -> None:
    """Give a file, or every file of a folder, a second name; what had that name loses it."""
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)


def _fresh_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of all names and files of a folder."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    inside = sorted(file for file in path.rglob("*") if not file.is_dir())
    named = [(file.relative_to(path).as_posix(), _fresh_digest(file)) for file in inside]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


_digest = cache(_fresh_digest)
"""Of inputs, which do not change during a job."""
