"""Dictionaries of EleutherAI's sparsify (PyPI: eai-sparsify, 1.3): `cfg.json`, `sae.safetensors`.

It takes raw activations, and encodes them as

    z = TopK_k(ReLU(W (x − b_dec) + b)),    x̂ = W_decᵀ z + b_dec,

with `encoder.weight` W and `W_dec` of width × d. Its tokens are those of a module's output, without
normalisation; which module, the folder's name says and nothing here checks.
"""

from pathlib import Path

import numpy as np

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import AGAIN, FILES
from cladescope.files import read_json, reading

TENSORS = {"encoder.weight", "encoder.bias", "W_dec", "b_dec"}


def read(folder: Path) -> Dictionary:
    """Return the dictionary in `folder`.

    Raises
    ------
    ValueError
        For transcoders, skip connections and activations other than TopK; names the key.
    """
    # Of the two readers only torch's knows bfloat16, in which published ones are.
    from safetensors.torch import load_file

    settings, weights = (folder / name for name in FILES["sparsify"])
    config = read_json(settings, AGAIN)
    for key, wanted in {"activation": "topk", "transcode": False, "skip_connection": False}.items():
        if config.get(key, wanted) != wanted:
            raise ValueError(
                f"{settings}: {key} {config[key]!r} has no counterpart here; only {wanted!r} can "
                "be imported"
            )
    with reading(weights, AGAIN):
        tensors = {name: value.float().numpy() for name, value in load_file(weights).items()}
    if tensors.keys() != TENSORS:
        raise ValueError(f"{weights} holds {', '.join(sorted(tensors))}; not {sorted(TENSORS)}")
    return Dictionary(
        encoder=tensors["encoder.weight"],
        encoder_bias=tensors["encoder.bias"],
        decoder=tensors["W_dec"],
        decoder_bias=tensors["b_dec"],
        mean=np.zeros_like(tensors["b_dec"]),
        scale=1.0,
        k=config["k"],
    )
