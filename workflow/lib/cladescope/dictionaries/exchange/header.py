"""What a dictionary's files say of it before a weight is read: in milliseconds, without torch.

A safetensors file begins with the shapes of its tensors, as JSON. What torch saves is a zip archive
with a pickle, which names the tensors; their numbers lie beside it. Nothing that it names is run.
"""

import json
import pickle
import zipfile
from collections import OrderedDict
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
    with reading(weights, AGAIN):
        held = _held(weights)
        centre = next((held[name] for name in CENTRES[source.form] if name in held), None)
        dimensions = centre[-1] if isinstance(centre, list | tuple) and centre else None
    said = held if settings == weights else read_json(settings, AGAIN)
    return Header(dimensions, isinstance(said, dict) and sees_one_scale(source.form, said))


def _held(path: Path) -> dict[str, Any]:
    """Return what a file of weights holds by name: of tensors their shapes."""
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        return {name: told["shape"] for name, told in header.items() if "shape" in told}
    if not zipfile.is_zipfile(path):
        # As torch saved before its version 1.6, or damaged: whoever reads the weights says so.
        return {}
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as file:
            held = _Shapes(file).load()
    return held if isinstance(held, dict) else {}


class _Named:
    """Stands for whatever a pickle names; what is done with it leads nowhere."""

    def __init__(self, *args: Any):
        pass

    __setstate__ = append = extend = __setitem__ = __init__


class _Shapes(pickle.Unpickler):
    """Reads what torch saved, with shapes in the place of tensors."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for something that the pickle names."""
        known = {
            "OrderedDict": OrderedDict,
            "_rebuild_tensor_v2": lambda storage, offset, shape, *rest: shape,
            "_rebuild_parameter": lambda shape, *rest: shape,
        }
        return known.get(name, _Named)

    def persistent_load(self, pid: Any) -> None:
        """Leave the numbers where they are."""
