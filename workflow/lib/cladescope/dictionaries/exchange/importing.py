"""One way in for dictionaries of every format."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import Source
from cladescope.machines import machine


def import_dictionary(source: Source, weights: str | Path) -> None:
    """Write a dictionary at `weights`, its JSON beside it, from the files of another library.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_dictionary` does.
    """
    dictionary, about = read_dictionary(source)
    digest = hashlib.sha256(source.files[-1].read_bytes()).hexdigest()
    made_from = {"settings": about, "given": source.settings, "sha256": digest}
    if source.hub:
        made_from["hub"] = source.hub
    identity = {"variant": source.form, "made_from": made_from, "machine": machine(1)}
    dictionary.save(weights, identity)


def read_dictionary(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the files of another library, and what they say of its making.

    Raises
    ------
    FileNotFoundError
        As `Source.check` does.
    ValueError
        As that does; or if the files hold something that a dictionary cannot express, or leave open
        what has to be known; names it.
    """
    source.check()
    module = import_module(f"{__package__}.{source.form}")
    dictionary: Dictionary
    about: dict[str, Any]
    dictionary, about = module.read(source)
    dictionary.check(source.files[-1])
    return dictionary, about
