"""One way in for dictionaries of every format."""

import hashlib
from importlib import import_module
from pathlib import Path

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import AGAIN, FILES
from cladescope.files import read_json
from cladescope.machines import machine


def import_dictionary(form: str, folder: str | Path, weights: str | Path) -> None:
    """Write a dictionary at `weights`, its JSON beside it, from the files of another library.

    Parameters
    ----------
    form
        A key of `FILES`.
    folder
        With the two files of this format.

    Raises
    ------
    FileNotFoundError
        Names the files that the folder lacks.
    ValueError
        If the files hold something that a dictionary cannot express; names it.
    """
    folder = Path(folder)
    if missing := [name for name in FILES[form] if not (folder / name).is_file()]:
        raise FileNotFoundError(
            f"{folder} has no {' and no '.join(missing)}; a dictionary of the format {form} is a "
            f"folder with {' and '.join(FILES[form])}"
        )
    settings, weights_read = (folder / name for name in FILES[form])
    module = import_module(f"{__package__}.{form}")
    dictionary: Dictionary = module.read(folder)
    digest = hashlib.sha256(weights_read.read_bytes()).hexdigest()
    made_from = {"settings": read_json(settings, AGAIN), "sha256": digest}
    identity = {"variant": form, "made_from": made_from, "machine": machine(1)}
    dictionary.save(weights, identity)
