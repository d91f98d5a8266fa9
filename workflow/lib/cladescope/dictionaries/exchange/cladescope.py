"""Dictionaries that this workflow trained, in another study."""

from pathlib import Path

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import FILES


def read(folder: Path) -> Dictionary:
    """Return the dictionary in `folder`; raises as `Dictionary.load` does."""
    return Dictionary.load(folder / FILES["cladescope"][1])
