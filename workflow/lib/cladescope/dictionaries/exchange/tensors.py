"""Tensors from files of other libraries, without running code that a file may hold."""

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import AGAIN
from cladescope.files import reading


def read_tensors(path: Path) -> dict[str, Any]:
    """Return what a safetensors file or a saved `state_dict` holds, tensors as float32 arrays.

    Raises
    ------
    ValueError
        If the file is damaged, or what it holds could be read by running its code alone.
    """
    # Of the two readers only torch's knows bfloat16, in which published ones are.
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        with reading(path, AGAIN):
            return {name: value.float().numpy() for name, value in load_file(path).items()}
    with path.open("rb") as file:
        return saved_state(path, file)


def saved_state(path: Path, file: BinaryIO) -> dict[str, Any]:
    """Return what torch saved in the file from where it stands, as `read_tensors` does."""
    import torch

    return {
        name: value.float().numpy() if isinstance(value, torch.Tensor) else value
        for name, value in saved(path, file).items()
    }


def saved(path: Path, file: BinaryIO, device: str = "cpu") -> dict[str, Any]:
    """Return what torch saved in the file from where it stands; on `meta`, shapes alone.

    Raises
    ------
    ValueError
        As `read_tensors` does.
    """
    import torch

    with reading(path, AGAIN):
        try:
            found = torch.load(file, map_location=device, weights_only=True)
        except pickle.UnpicklingError:
            found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} holds something else than tensors by name, and to read it could take running "
            "its code: save sae.state_dict() alone, with torch.save or as safetensors"
        )
    return found


def need(path: Path, tensors: dict[str, Any], names: tuple[str, ...]) -> list[np.ndarray]:
    """Return the tensors of these names; ValueError names those that are missing."""
    if missing := [name for name in names if name not in tensors]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; {AGAIN}")
    return [tensors[name] for name in names]


def need_count(path: Path, config: dict[str, Any], name: str, within: str = "") -> int:
    """Return a number of latents of the settings in `path`; ValueError if it is none."""
    value = config.get(name)
    if not (type(value) is int and value > 0):
        raise ValueError(f"{path}: {within}{name} is {value!r}, it must be a number of latents")
    return value


def unscaled(
    encoder: Float[np.ndarray, "width d"],
    encoder_bias: Float[np.ndarray, " width"],
    decoder: Float[np.ndarray, "width d"],
    centre: Float[np.ndarray, " d"],
    **rule: Any,
) -> Dictionary:
    """Return a dictionary of mean 0 and scale 1, with b_dec = `centre` and the fields of `rule`."""
    return Dictionary(
        encoder, encoder_bias, decoder, centre, mean=np.zeros_like(centre), scale=1.0, **rule
    )


def without_gate(
    encoder: Float[np.ndarray, "width d"],
    magnitude: Float[np.ndarray, " width"],
    magnitude_bias: Float[np.ndarray, " width"],
    gate_bias: Float[np.ndarray, " width"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return encoder, its bias and θ that fire as a gated encoder does.

    With u = W x, a gate lets ReLU(e^r u + c) through where u + g > 0 (Rajamanoharan et al. 2024,
    arXiv 2404.16014, eqs. 6 and 8). As e^r > 0, that is where e^r u + c > c − e^r g = θ.
    """
    factor = np.exp(magnitude)
    threshold = np.maximum(magnitude_bias - factor * gate_bias, 0)
    return encoder * factor[:, None], magnitude_bias, threshold
