"""Dictionaries of dictionary_learning (PyPI, 0.1): `config.json` and `ae.pt`.

The `trainer` of `config.json` says the class, `ae.pt` is read without running any code that it may
hold. All take raw activations, since what normalised them in training is folded into the biases
when they are saved:

    z = S(ReLU(W (x − b) + c)),    x̂ = D z + b,

- `AutoEncoderTopK`: S keeps the k largest.
- `BatchTopKSAE`, `MatryoshkaBatchTopKSAE`: S keeps what is above the threshold, as their `encode`.
- `JumpReluAutoEncoder`: the same with a threshold for each latent, and W x + c.
- `AutoEncoder`: S keeps all; columns of D are brought to unit norm, as its `from_pretrained` does.
- `AutoEncoderNew`: the same with W x + c, and columns as they are.
- `GatedAutoEncoder`: S keeps what its gate lets through, which is a threshold for each latent.
"""

from typing import Any

import numpy as np

from cladescope.dictionaries.dictionary import Dictionary, with_unit_rows
from cladescope.dictionaries.exchange import AGAIN, Source
from cladescope.dictionaries.exchange.tensors import read_tensors, unscaled, without_gate
from cladescope.files import read_json

UNSHIFTED = ("JumpReluAutoEncoder", "AutoEncoderNew")
"""Classes whose encoder sees x, not x − b."""
THRESHOLDED = ("BatchTopKSAE", "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder")
"""Classes with a threshold."""
CLASSES = (
    "AutoEncoder",
    "AutoEncoderTopK",
    "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
    "GatedAutoEncoder",
    *UNSHIFTED,
)


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the folder, and its settings.

    Raises
    ------
    ValueError
        For other classes, and for a file that is no plain state of one.
    """
    settings, weights = source.files
    config = read_json(settings, AGAIN)
    trainer = config.get("trainer", {})
    kind = trainer.get("dict_class")
    if kind not in CLASSES:
        raise ValueError(
            f"{settings}: trainer.dict_class {kind!r} has no counterpart here; only "
            f"{', '.join(CLASSES)} can be imported"
        )
    state = read_tensors(weights)
    threshold = k = None
    try:
        if kind == "AutoEncoderTopK":
            k = int(state["k"])
        elif kind in THRESHOLDED:
            # Below 0, as it is until training sets it, every positive value is kept.
            threshold = np.maximum(np.atleast_1d(state["threshold"]), 0)
        if kind == "GatedAutoEncoder":
            gated = (state[name] for name in ("encoder.weight", "r_mag", "mag_bias", "gate_bias"))
            encoder, encoder_bias, threshold = without_gate(*gated)
            decoder, centre = state["decoder.weight"].T, state["decoder_bias"]
        else:
            encoder, encoder_bias, decoder, centre = _matrices(state)
    except KeyError as error:
        raise ValueError(f"{weights} has no {error}, which a {kind} has") from error
    if kind in UNSHIFTED:
        encoder_bias = encoder_bias + encoder @ centre
    if kind == "AutoEncoder":
        encoder, encoder_bias, decoder = with_unit_rows(encoder, encoder_bias, decoder)
    dictionary = unscaled(
        encoder,
        encoder_bias,
        decoder,
        centre,
        k=k,
        threshold=threshold,
    )
    return dictionary, config


def _matrices(state: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return encoder (width, d), its bias, decoder (width, d) and b, by either set of names."""
    if "W_enc" in state:
        return state["W_enc"].T, state["b_enc"], state["W_dec"], state["b_dec"]
    centre = next((name for name in ("bias", "decoder.bias") if name in state), "b_dec")
    encoder, bias = state["encoder.weight"], state["encoder.bias"]
    return encoder, bias, state["decoder.weight"].T, state[centre]
