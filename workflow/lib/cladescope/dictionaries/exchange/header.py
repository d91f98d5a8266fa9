"""What a dictionary's files say of it before a weight is read.

A safetensors file begins with the shapes of its tensors, as JSON, which takes milliseconds; of what
torch saved torch reads the names and shapes, and leaves the numbers where they are.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from cladescope.dictionaries.exchange import AGAIN, CENTRES, Source, sees_one_scale
from cladescope.files import read_json, reading


class Header(NamedTuple):
    """What is known of a dictionary by its header."""

    dimensions: int | None
    """Of the activations that it is of; None where the file does not tell."""
    per_token: bool
    """Whether it brings each token to one scale first."""


def read_header(source: Source) -> Header:
    """Read the header of another library's dictionary.

    Raises
    ------
    FileNotFoundError, ValueError
        As `Source.check` does, or for a damaged file.
    """
    source.check()
    settings, weights = source.files[0], source.files[-1]
    held = _held(source.form, weights)
    centre = next((held[name] for name in CENTRES[source.form] if name in held), None)
    dimensions = centre[-1] if isinstance(centre, list | tuple) and centre else None
    said = held if settings == weights else read_json(settings, AGAIN)
    return Header(dimensions, isinstance(said, dict) and sees_one_scale(source.form, said))


def _held(form: str, path: Path) -> dict[str, Any]:
    """Return what a file of weights holds by name: of tensors their shapes."""
    with path.open("rb") as file:
        if path.suffix == ".safetensors":
            with reading(path, AGAIN):
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
                return {name: told["shape"] for name, told in header.items() if "shape" in told}
        # Takes a second to import.
        from cladescope.dictionaries.exchange.tensors import saved

        if form == "saev":
            # A line of settings stands before what torch saved.
            file.readline()
        held = saved(path, file, "meta")
    return {name: getattr(value, "shape", value) for name, value in held.items()}
