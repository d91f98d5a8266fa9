"""Dictionaries of overcomplete (PyPI, 0.3.0): one file, an SAE's `state_dict()` after `.eval()`.

`.eval()` brings the rows of the dictionary to where they belong, which training leaves to the next
step. The state names neither the class nor what is no tensor, so that the settings have to:

- `class`: `SAE`, `TopKSAE`, `BatchTopKSAE`, `JumpSAE`, `MpSAE`, `RATopKSAE` or `RAJumpSAE`;
- `k`, the `top_k` or `k` of the object, for `TopKSAE`, `RATopKSAE` and `MpSAE`;
- `threshold`, the `running_threshold` of the object, for `BatchTopKSAE`;
- `normalization`, `l2` or `identity`, unless the rows of a `DictionaryLayer` are of length 1.

Tokens are taken as they are, and there is no b_dec (`overcomplete/sae`):

    z = S(ReLU(W x + b)),    x̂ = Dᵀ z,    D = e^m D₀,

with `dictionary._weights` D₀ and `dictionary.multiplier` m. Archetypal rows (`RA...`) are D₀ = A C
+ Λ, of `dictionary.W`, `.C` and `.Relax`. The encoder is `linear`, `mlp_bn_1` (linear, then batch
normalisation), tied to D, or untied. `JumpSAE` keeps what reaches the exponential of `thresholds`.
`MpSAE` chooses latents one after another by D x; where none leads towards what is left it goes on
with codes below 0, and here it ends.
"""

from pathlib import Path
from typing import Any

import numpy as np

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.tensors import need, read_tensors, unscaled

CHOOSING = ("TopKSAE", "RATopKSAE", "MpSAE")
"""Classes with a k."""
CLASSES = ("SAE", "BatchTopKSAE", "JumpSAE", "RAJumpSAE", *CHOOSING)
NORMALIZATIONS = ("l2", "identity")
NEAR = 1e-4
"""How far from 1 the lengths, or sums, of finished rows may be."""
EPSILON = 1e-5
"""Of torch's `BatchNorm1d`, which no state holds."""


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the file; of its making nothing is recorded.

    Raises
    ------
    ValueError
        For other classes and encoders, for a state from amid training, and if something is left
        open that is not given; names it.
    """
    (path,) = source.files
    kind = source.settings.get("class")
    if kind not in CLASSES:
        raise ValueError(
            f"{path}: settings.class is {kind!r}; give the class of the object that was saved: "
            f"{', '.join(CLASSES)}"
        )
    state = read_tensors(path)
    decoder = _decoder(path, source, state)
    encoder, bias = (decoder, None) if kind == "MpSAE" else _encoder(path, state, decoder)
    threshold = None
    if kind in ("JumpSAE", "RAJumpSAE"):
        (logarithm,) = need(path, state, ("thresholds",))
        threshold = np.exp(logarithm)
    elif kind == "BatchTopKSAE":
        threshold = np.atleast_1d(np.float32(_number(path, source, "threshold")))
    if threshold is not None:
        # Theirs keeps what equals the threshold, a dictionary what is above.
        threshold = np.maximum(np.nextafter(threshold, -np.inf, dtype=np.float32), 0)
    dictionary = unscaled(
        encoder,
        np.zeros(len(decoder), np.float32) if bias is None else bias,
        decoder,
        np.zeros(decoder.shape[1], np.float32),
        k=int(_number(path, source, "k")) if kind in CHOOSING else None,
        threshold=threshold,
        pursuit=kind == "MpSAE",
    )
    return dictionary, {}


def _number(path: Path, source: Source, name: str) -> Any:
    """Return a positive number of the settings."""
    value: Any = source.settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(
            f"{path}: settings.{name} is {value!r}; the file does not hold it: give that of the "
            f"{source.settings['class']}, a positive number"
        )
    return value


def _decoder(path: Path, source: Source, state: dict[str, Any]) -> np.ndarray:
    """Return D of (width, d)."""
    (multiplier,) = need(path, state, ("dictionary.multiplier",))
    if source.settings["class"].startswith("RA"):
        names = ("dictionary.W", "dictionary.C", "dictionary.Relax")
        combined, points, rest = need(path, state, names)
        if (combined < 0).any() or not np.allclose(combined.sum(1), 1, rtol=0, atol=NEAR):
            raise ValueError(
                f"{path}: rows of dictionary.W are no convex combinations, as amid training; call "
                ".eval() before saving"
            )
        rows = combined @ points + rest
    else:
        (rows,) = need(path, state, ("dictionary._weights",))
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.allclose(lengths, 1, rtol=0, atol=NEAR):
            said = source.settings.get("normalization")
            if said not in NORMALIZATIONS:
                raise ValueError(
                    f"{path}: rows of dictionary._weights are not of length 1, and "
                    f"settings.normalization is {said!r}; give that of the dictionary, "
                    f"{' or '.join(NORMALIZATIONS)}"
                )
            if said == "l2":
                rows = rows / (lengths + np.float32(1e-8))
    return rows * np.exp(multiplier)


def _encoder(
    path: Path, state: dict[str, Any], decoder: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return W of (width, d) and its bias, if there is one."""
    names = {name for name in state if name.startswith("encoder.")}
    linear = {"encoder.final_block.0.weight", "encoder.final_block.0.bias"}
    parts = ("weight", "bias", "running_mean", "running_var")
    batch_norm = {f"encoder.final_block.1.{part}" for part in parts}
    counted = {"encoder.final_block.1.num_batches_tracked"}
    if names and names <= {"encoder.weight", "encoder.bias"}:
        return state.get("encoder.weight", decoder), state.get("encoder.bias")
    if "encoder.tied_to.multiplier" in names:
        return decoder, state.get("encoder.bias")
    if names - counted == linear:
        weight, bias = (state[f"encoder.final_block.0.{part}"] for part in parts[:2])
        return weight, bias
    if names - counted == linear | batch_norm:
        weight, bias = (state[f"encoder.final_block.0.{part}"] for part in parts[:2])
        gain, shift, mean, variance = (state[f"encoder.final_block.1.{part}"] for part in parts)
        factor = gain / np.sqrt(variance + np.float32(EPSILON))
        return weight * factor[:, None], (bias - mean) * factor + shift
    raise ValueError(
        f"{path}: an encoder of {', '.join(sorted(names)) or 'nothing'} has no counterpart here; "
        "only linear, mlp_bn_1, and those tied and untied by the SAE's own methods can be imported"
    )
