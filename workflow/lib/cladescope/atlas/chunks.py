"""Chunks: the files that the atlas's pages load.

A browser lets a page that was opened from disk fetch nothing, but does run scripts that lie beside
it. So a chunk is a script of one call, `receive({...})`, whose argument is JSON: it cannot compute
anything. Arrays are base64 of their little-endian bytes, deflated (zlib, RFC 1950), which on real
studies halves them.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from cladescope.files import write_aside

_HEAD, _TAIL = "receive(", ");\n"
_DTYPES = ("uint8", "int8", "uint16", "uint32", "int32", "float32")
"""What JavaScript has typed arrays for."""


def write_chunk(path: str | Path, **values: Any) -> None:
    """Write named values: arrays of the types above, and whatever JSON holds.

    Raises
    ------
    TypeError
        If an array is of another type.
    ValueError
        If a number outside an array is not finite.
    """
    text = json.dumps(values, default=_encode, separators=(",", ":"), allow_nan=False)
    with write_aside(path) as aside:
        aside.write_text(_HEAD + text + _TAIL)


def read_chunk(path: str | Path) -> dict[str, Any]:
    """Read what `write_chunk` wrote; arrays come back flat."""
    text = Path(path).read_text()
    if not (text.startswith(_HEAD) and text.endswith(_TAIL)):
        raise ValueError(f"{path} is no chunk of an atlas; delete its folder and rerun")
    values = json.loads(text[len(_HEAD) : -len(_TAIL)])
    return {
        name: np.frombuffer(zlib.decompress(base64.b64decode(value["base64"])), value["dtype"])
        if isinstance(value, dict) and "base64" in value
        else value
        for name, value in values.items()
    }


def smallest(values: np.ndarray, largest: int) -> np.ndarray:
    """Store whole numbers from 0 to `largest` in as few bytes as that takes."""
    dtype = next(name for name in ("uint8", "uint16", "uint32") if largest <= np.iinfo(name).max)
    return values.astype(dtype)


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray) or value.dtype.name not in _DTYPES:
        raise TypeError(f"a chunk cannot hold {getattr(value, 'dtype', type(value))}")
    little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    packed = zlib.compress(little.tobytes())
    return {"dtype": value.dtype.name, "base64": base64.b64encode(packed).decode()}
