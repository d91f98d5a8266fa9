"""Dictionaries of EleutherAI's sparsify (PyPI: eai-sparsify, 1.3): `cfg.json`, `sae.safetensors`.

It takes raw activations, and encodes them as

    z = TopK_k(ReLU(W (x − b_dec) + b)),    x̂ = W_decᵀ z + b_dec,

with `encoder.weight` W and `W_dec` of width × d. Its tokens are those of a module's output, without
normalisation; which module, the folder's name says and nothing here checks.
"""

from typing import Any

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import AGAIN, Source
from cladescope.dictionaries.exchange.tensors import need_count, read_tensors, unscaled
from cladescope.files import read_json

TENSORS = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the folder, and its settings.

    Raises
    ------
    ValueError
        For transcoders, skip connections and activations other than TopK; names the key.
    """
    settings, weights = source.files
    config = read_json(settings, AGAIN)
    for key, wanted in {"activation": "topk", "transcode": False, "skip_connection": False}.items():
        if config.get(key, wanted) != wanted:
            raise ValueError(
                f"{settings}: {key} {config[key]!r} has no counterpart here; only {wanted!r} can "
                "be imported"
            )
    tensors = read_tensors(weights)
    if tensors.keys() != {*TENSORS}:
        raise ValueError(f"{weights} holds {', '.join(sorted(tensors))}; not {sorted(TENSORS)}")
    named = (tensors[name] for name in TENSORS)
    dictionary = unscaled(*named, k=need_count(settings, config, "k"))
    return dictionary, config
