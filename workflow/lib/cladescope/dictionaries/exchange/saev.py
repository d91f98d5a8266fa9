"""Dictionaries of saev (OSU-NLP-Group/saev, commit 3d73f1f, schema 5): one file, `sae.pt`.

Its first line is a JSON header, the rest what torch saved of the state (`src/saev/nn/modeling.py`,
`dump`). They are of the output of a transformer's block, which the header does not name, and see
raw activations:

    z = S(W_encᵀ x + b_enc),    x̂ = W_decᵀ z + b_dec,

with S the activation of the header: `Relu`, `TopK`, or `BatchTopK`, which keeps what is above the
`activation.threshold` of training. Nested prefixes (Matryoshka) are a matter of training alone.
saev's `TopK` passes on values below 0 where fewer than k are above; here they are 0.

Headers before schema 3 (October 2025) leave two things open, which have to be given in saev's own
words: `scale_mean` and `scale_norm`, as the activations were brought to (x − mean) / norm by
default (the file of the mean, beside the weights, and the number; false where it was switched
off), and, unless b_dec is 0, `subtract_b_dec`, whether W_enc sees x − b_dec, as in all code up to
schema 0, and in some of schemas 1 and 2.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import AGAIN, Source
from cladescope.dictionaries.exchange.tensors import need, saved_state
from cladescope.files import reading

RAW = (3, 4, 5)
"""Schemas whose code trains on raw activations and leaves b_dec out of the encoder."""
ACTIVATIONS = ("Relu", "TopK", "BatchTopK")


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the folder, and its header.

    Raises
    ------
    ValueError
        For other schemas and activations, and where the file leaves open what is not given.
    """
    (path,) = source.files
    with path.open("rb") as file:
        with reading(path, AGAIN):
            header = json.loads(file.readline())
        state = saved_state(path, file)
    schema = header.get("schema", 0)
    if schema not in (0, 1, 2, *RAW):
        raise ValueError(f"{path}: schema {schema!r} is not known here; only 0 to {RAW[-1]} are")
    activation, k = _activation(path, header)
    encoder, bias, decoder, centre = need(path, state, ("W_enc", "b_enc", "W_dec", "b_dec"))
    if not _subtracts(source, schema, centre):
        bias = bias + centre @ encoder
    mean, scale = _scaling(source, schema, len(centre))
    threshold = None
    if activation == "BatchTopK":
        (threshold,) = need(path, state, ("activation.threshold",))
        threshold = np.maximum(np.atleast_1d(threshold), 0)
    dictionary = Dictionary(
        encoder=encoder.T,
        encoder_bias=bias,
        decoder=decoder,
        decoder_bias=centre,
        mean=mean,
        scale=scale,
        k=k if activation == "TopK" else None,
        threshold=threshold,
    )
    return dictionary, header


def _activation(path: Path, header: dict[str, Any]) -> tuple[str, int | None]:
    """Return the activation's class and k, wherever the schema has them."""
    if "schema" not in header:
        return "Relu", None
    cfg = header["cfg"]
    of = cfg.get("activation", {"cls": header.get("cls"), "params": cfg})
    if of.get("cls") not in ACTIVATIONS:
        raise ValueError(
            f"{path}: activation {of.get('cls')!r} has no counterpart here; only "
            f"{', '.join(ACTIVATIONS)} can be imported"
        )
    k = of["params"].get("top_k")
    if of["cls"] == "TopK" and not (isinstance(k, int) and k > 0):
        raise ValueError(f"{path}: top_k is {k!r}, not a number of latents; {AGAIN}")
    return of["cls"], k


def _subtracts(source: Source, schema: int, centre: np.ndarray) -> bool:
    """Say whether the encoder sees x − b_dec."""
    if schema in RAW or not centre.any():
        return False
    if schema == 0:
        return True
    if not isinstance(said := source.settings.get("subtract_b_dec"), bool):
        raise ValueError(
            f"{source.files[0]}: schema {schema} leaves open whether the encoder sees x − b_dec, "
            "and b_dec is not 0; give settings.subtract_b_dec, true or false (saev's encode, at "
            "the commit that the header names, shows which)"
        )
    return said


def _scaling(source: Source, schema: int, d: int) -> tuple[np.ndarray, float]:
    """Return mean and scale of x' = (x − mean) / scale."""
    mean, scale = np.zeros(d, np.float32), 1.0
    if schema in RAW:
        return mean, scale
    path = source.files[0]
    if missing := [n for n in ("scale_mean", "scale_norm") if n not in source.settings]:
        raise ValueError(
            f"{path}: schema {schema} does not record how activations were scaled; give "
            f"settings.{' and settings.'.join(missing)}: false, or the name of the mean's file "
            "beside it, and the number that activations were divided by"
        )
    if (name := source.settings["scale_mean"]) is not False:
        mean = _vector(source.folder / str(name), d)
    if (said := source.settings["scale_norm"]) is not False:
        if isinstance(said, bool) or not isinstance(said, int | float):
            raise ValueError(f"{path}: settings.scale_norm is {said!r}, not false or a number")
        scale = float(said)
    return mean, scale


def _vector(path: Path, d: int) -> np.ndarray:
    """Return the vector that torch saved in a file of its own."""
    import torch

    with reading(path, AGAIN):
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, torch.Tensor) or found.shape != (d,):
            raise ValueError(f"not a vector of {d} numbers")
        return found.float().numpy()
