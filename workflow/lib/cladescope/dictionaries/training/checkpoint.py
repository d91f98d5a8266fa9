"""The state of an interrupted run, in one file that is replaced as a whole.

Weights and counters are tensors of a safetensors file; the step and the key of the run stand in its
header. Nothing in it is part of a result.
"""

from pathlib import Path
from typing import NamedTuple

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
        save_file(tensors, aside, {"key": key, "step": str(step)})


def load_checkpoint(path: Path, key: str) -> tuple[int, dict[str, np.ndarray]] | None:
    """Return step and state, or None if there is no usable checkpoint of the run `key`."""
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            if about.get("key") != key:
                return None
            return int(about["step"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):
        return None
