"""What Snakemake relies on, checked before any job: its records, times of files, Python's path."""

import os
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from pathlib import Path

RECORDS = Path(".snakemake")
"""Snakemake's records: `metadata` of finished files, `incomplete` of those that are being made."""

CLOCK_SLACK = 600
"""Seconds by which the clocks of a cluster's machines may differ."""


def check_records(results: str, finished: Iterable[str]) -> None:
    """Refuse results that Snakemake has no record of.

    A record says which parameters and inputs a file was made from. Files without one count as up
    to date whatever the configuration says.

    Parameters
    ----------
    results
        The results folder, as the configuration writes it.
    finished
        Files of which at least one exists if anything worth keeping was computed.

    Raises
    ------
    ValueError
        If one of them exists, and there is no record of anything in the results folder.
    """
    found = next((path for path in finished if Path(path).exists()), None)
    if found is not None and not _has_records(results):
        raise ValueError(
            f"{found} exists, but Snakemake has no record of {results} in "
            f"{RECORDS.absolute()}/metadata: it was copied without its records, or made from "
            "another folder or under another name. A changed configuration would go unnoticed. "
            "Copy the records as well and keep the name; or accept all files as made with this "
            "configuration: run once with `--touch --forceall`; or set another `results` folder"
        )


def check_interpreter(executable: str = sys.executable) -> None:
    """Refuse a Python with a space in its path: Snakemake does not quote it in a job's command.

    Raises
    ------
    ValueError
        If it has one. Other paths may.
    """
    if any(character.isspace() for character in executable):
        raise ValueError(
            f"Snakemake cannot start jobs with {executable!r}: there is a space in its path; move "
            "the checkout, or only its environment, to a folder without one (the paths of results "
            "and images may have spaces)"
        )


def check_clock(files: Iterable[str]) -> None:
    """Refuse files from the future, which were written while a clock was ahead.

    Snakemake lets a job run to its end, and then deletes an output that is older than an input.

    Raises
    ------
    ValueError
        Lists the files. Those that do not exist are no fault.
    """
    limit = time.time() + CLOCK_SLACK
    ahead = [path for path in files if Path(path).exists() and Path(path).stat().st_mtime > limit]
    if ahead:
        raise ValueError(
            "these files are from the future, so the clock was wrong when they were made, or is "
            f"now; set the clock, then touch {' '.join(ahead)} (nothing is made again for that)"
        )


def _has_records(results: str) -> bool:
    """Look for a record of a file below `results`; its name is the file's path in base64."""
    prefix = f"{os.path.normpath(results)}/".encode()
    for entry in (*(RECORDS / "metadata").glob("*"), *(RECORDS / "incomplete").glob("*")):
        # A long name is split into folders, of which the first begins with @.
        name = entry.name.removeprefix("@")
        if urlsafe_b64decode(name[: len(name) // 4 * 4]).startswith(prefix):
            return True
    return False


def check_writable(results: str | Path) -> None:
    """Check that jobs can write to the results, before Snakemake removes what they will replace.

    Raises
    ------
    ValueError
        If the folder is there and cannot be written to.
    """
    if Path(results).exists() and not os.access(results, os.W_OK | os.X_OK):
        raise ValueError(
            f"Permission denied: {results} cannot be written to; make the folder writable, or set "
            "`results` to another"
        )
