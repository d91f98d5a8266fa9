"""Fingerprints of code, so that a change of logic reruns what it feeds and prose does not.

A fingerprint covers a script and every function, class and constant of the library that the script
reaches by name, directly or not. So a function that only extraction uses does not retrain
dictionaries, though they share a module with it. Comments and docstrings do not count.
"""

import hashlib
from functools import cache
from pathlib import Path

from cladescope.provenance.definitions import read_source

LIBRARY = Path(__file__).parents[1]
WATCHING = ("jobs.py",)
"""Modules that only write logs and draw progress bars, which changes no result."""


@cache
def fingerprint(script: Path, *modules: Path) -> str:
    """Fingerprint a script, `modules` and the definitions of the library that they reach.

    Imports inside functions count. A module that is imported without naming what is used from it
    counts as a whole.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    found = reached(script, *modules)
    for source, name in sorted(found, key=lambda item: (item[0].as_posix(), item[1])):
        text = read_source(source).definitions[name].digest
        digest.update(f"{source.name}\0{name}\0{text}\0".encode())
    return digest.hexdigest()[:16]


def reached(*sources: Path) -> set[tuple[Path, str]]:
    """Return the definitions of files, and those of the library that they reach, each by name."""
    found: set[tuple[Path, str]] = set()
    queue = [(source, name) for source in sources for name in read_source(source).definitions]
    while queue:
        definition = queue.pop()
        if definition not in found:
            found.add(definition)
            queue.extend(_uses(*definition))
    return found


@cache
def _uses(path: Path, name: str) -> list[tuple[Path, str]]:
    """Return the definitions that one definition names, in its own file or in the library's."""
    source = read_source(path)
    definition = source.definitions[name]
    uses = [(path, other) for other in source.definitions if other in definition.names or not other]
    # An import of a whole module counts without a name to follow, perhaps for its effect.
    named = [
        brought
        for brought in source.imports
        if brought.name is None or brought.known_as in definition.names
    ]
    for brought in (*named, *definition.imports):
        uses.extend(_imported(brought.module, brought.name))
    return uses


@cache
def _imported(module: str, name: str | None) -> list[tuple[Path, str]]:
    """Return the definitions that an import of the library brings: one by name, or all."""
    if module.split(".")[0] != LIBRARY.name:
        return []
    path = _file_of(module)
    submodule = _file_of(f"{module}.{name}") if name else None
    if submodule is not None:
        path, name = submodule, None
    if path is None or path.name in WATCHING:
        return []
    source = read_source(path)
    if name in source.definitions:
        return [(path, name), (path, "")]
    # Re-exported: follow it to where it is defined.
    return [
        found
        for brought in source.imports
        if brought.name is not None and brought.known_as == name
        for found in _imported(brought.module, brought.name)
    ] or [(path, other) for other in source.definitions]


@cache
def _file_of(module: str) -> Path | None:
    stem = LIBRARY.parent.joinpath(*module.split("."))
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
