"""Snakemake's records of what it made, without which a changed configuration goes unnoticed."""

import os
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from pathlib import Path

RECORDS = Path(".snakemake")
"""Where Snakemake keeps them: of files that it made in `metadata`, is making in `incomplete`."""


def check_records(results: str, finished: Iterable[str], records: Path = RECORDS) -> None:
    """Refuse results that Snakemake has no record of.

    A record says which parameters and inputs a file was made from. Files without one count as up
    to date whatever the configuration says.

    Parameters
    ----------
    results
        The results folder, as the configuration writes it.
    finished
        Files of which at least one is there if anything worth keeping was computed.

    Raises
    ------
    ValueError
        If a file is there, and no record of anything in the results folder.
    """
    found = next((path for path in finished if Path(path).exists()), None)
    if found is not None and not _has_records(results, records):
        raise ValueError(
            f"{found} exists, but Snakemake has no record of {results} in "
            f"{records.absolute()}/metadata: it was copied without its records, or made from "
            "another folder or under another name. A changed configuration would go unnoticed. "
            "Copy the records as well and keep the name; or accept all files as made with this "
            "configuration: run once with `--touch --forceall`; or set another `results` folder"
        )


def _has_records(results: str, records: Path) -> bool:
    """Look for a record of a file below `results`; its name is the file's path in base64."""
    prefix = f"{os.path.normpath(results)}/".encode()
    for entry in (*(records / "metadata").glob("*"), *(records / "incomplete").glob("*")):
        # A long name is split into folders, of which the first begins with @.
        name = entry.name.removeprefix("@")
        if urlsafe_b64decode(name[: len(name) // 4 * 4]).startswith(prefix):
            return True
    return False
