"""Dictionaries that this workflow trained, in another study."""

from typing import Any

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import AGAIN, Source
from cladescope.files import read_json


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary and its JSON; raises as `Dictionary.load` does."""
    about, weights = source.files
    return Dictionary.load(weights), read_json(about, AGAIN)
