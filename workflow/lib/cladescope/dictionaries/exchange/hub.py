"""Other people's dictionaries in the local cache of the Hugging Face hub.

A place is `hub:owner/name`, `hub:owner/name/folder` or, of a revision, `hub:owner/name@v1/folder`.
Only `fetch` reaches for the network, so that jobs need none.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cladescope.dictionaries.exchange import Source

PLACE = re.compile(
    r"hub:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<folder>.+))?"
)


class Place(NamedTuple):
    """A folder of a repository of the hub."""

    repository: str
    revision: str
    folder: str
    """Ends with a slash; empty for the repository's own."""


def place_of(folder: Path) -> Place | None:
    """Return the place; None for a folder of the file system.

    Raises
    ------
    ValueError
        If it is not written as one; says how.
    """
    if not str(folder).startswith("hub:"):
        return None
    found = PLACE.fullmatch(str(folder))
    if not found:
        raise ValueError(f"{folder}: write hub:owner/name, or hub:owner/name@revision/folder")
    inside = f"{found['folder']}/" if found["folder"] else ""
    return Place(found["repository"], found["revision"] or "main", inside)


def located(source: Source) -> Source:
    """Return the source; one of the hub with the folder of the local cache.

    Raises
    ------
    FileNotFoundError
        Names the files that the cache lacks, and how they are fetched.
    ValueError
        As `place_of` does.
    """
    if (place := place_of(source.folder)) is None:
        return source
    from huggingface_hub import constants, try_to_load_from_cache

    missing = []
    for name in source.names:
        wanted = (place.repository, place.folder + name)
        path = try_to_load_from_cache(*wanted, revision=place.revision)
        if isinstance(path, str):
            here = Path(path).parent
        else:
            missing.append(name)
    if missing:
        raise FileNotFoundError(
            f"{source.folder}: {' and '.join(missing)} not in the local cache "
            f"({constants.HF_HUB_CACHE}); run `cladescope fetch CONFIG` where there is a network"
        )
    # snapshots/<commit>/<folder>
    commit = [here, *here.parents][place.folder.count("/")].name
    return replace(source, folder=here, hub=f"{place.repository}@{commit}")


def fetch(source: Source) -> Source:
    """Download what the local cache lacks of a source of the hub; return it as `located` does.

    Raises
    ------
    OSError
        Of the hub: no such repository, revision or file, no access, no network.
    ValueError
        As `place_of` does.
    """
    if place := place_of(source.folder):
        from huggingface_hub import hf_hub_download

        for name in source.names:
            hf_hub_download(place.repository, place.folder + name, revision=place.revision)
    return located(source)
