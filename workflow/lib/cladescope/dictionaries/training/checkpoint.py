"""The state of an interrupted run, in one file that is replaced as a whole.

Weights and counters are tensors of a safetensors file; the step, the key of the run and a checksum
of all stand in its header. Nothing in it is part of a result.
"""

import json
import logging
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cladescope.files import write_aside


class Checkpoint(NamedTuple):
    """Where the state of a run lies, and which run it is of."""

    path: Path
    key: str
    """Stands for all that the result depends on; a state with another key is ignored."""


def save_checkpoint(path: Path, key: str, step: int, state: dict[str, np.ndarray]) -> None:
    """Replace the checkpoint at `path`."""
    tensors = {name: np.asarray(value, order="C") for name, value in state.items()}
    with write_aside(path) as aside:
        about = {"key": key, "step": str(step)}
        save_file(tensors, aside, {**about, "crc32c": _checksum(about, tensors)})


def load_checkpoint(path: Path, key: str) -> tuple[int, dict[str, np.ndarray]] | None:
    """Return step and state, or None if there is no usable checkpoint of the run `key`."""
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            if about.get("key") != key:
                return None
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (SafetensorError, ValueError, KeyError, UnicodeDecodeError):
        about, state = {}, {}
    checksum = about.pop("crc32c", None)
    if checksum is None or checksum != _checksum(about, state):
        logging.warning("%s is damaged; training starts anew", path)
        return None
    return int(about["step"]), state


def _checksum(about: dict[str, str], tensors: dict[str, np.ndarray]) -> str:
    """Return the crc32c of a checkpoint's header and of its tensors in order of their names."""
    checksum = google_crc32c.value(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        described = f"{name} {value.dtype} {value.shape}".encode()
        checksum = google_crc32c.extend(checksum, described + value.tobytes())
    return f"{checksum:08x}"
