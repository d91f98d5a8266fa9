"""Dictionaries of Prisma (Prisma-Multimodal/ViT-Prisma, commit aa5ff6a), in two files.

These are `config.json` and `weights.pt`, which often has another name, and is a state as torch
saves it. What `save_model` writes has the configuration beside the state, as an object, and can
only be read by running its code (`src/vit_prisma/sae/sae.py`). With x' the token, or the token at
mean 0 and standard deviation 1 where `normalize_activations` is `layer_norm`, the default there,

    z = S(W_encᵀ (x' − b_dec) + b_enc),    x̂' = W_decᵀ z + b_dec,

with S `relu` or `topk`. Of architecture `gated` a gate says where latents fire. The site is
`blocks.{hook_point_layer}.{layer_subtype}`, counted from 0; the output of a block is
`hook_resid_post`. `cls_token_only` and `use_patches_only` say which tokens it was trained on.
"""

from pathlib import Path
from typing import Any

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import AGAIN, Source, sees_one_scale
from cladescope.dictionaries.exchange.tensors import (
    need,
    need_count,
    read_tensors,
    unscaled,
    without_gate,
)
from cladescope.files import read_json

ALLOWED: dict[str, tuple[Any, ...]] = {
    "architecture": ("standard", "gated"),
    "activation_fn_str": ("relu", "topk"),
    "normalize_activations": ("layer_norm", "none", None),
    "is_transcoder": (False,),
}
"""What can be read, by the key of `config.json`."""
SITE = "hook_resid_post"


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the folder, and its configuration.

    Raises
    ------
    ValueError
        For another site, token, architecture, activation or normalisation; names the key.
    """
    path, weights = source.files
    config = read_json(path, AGAIN)
    for key, values in ALLOWED.items():
        if key != "is_transcoder" and key not in config:
            raise ValueError(f"{path} lacks {key}, which says how to encode; {AGAIN}")
        if config.get(key, values[0]) not in values:
            raise ValueError(
                f"{path}: {key} {config[key]!r} has no counterpart here; only "
                f"{', '.join(str(value) for value in values)} can be imported"
            )
    _check_site(path, source, config)
    state = read_tensors(weights)
    encoder, decoder, centre = need(weights, state, ("W_enc", "W_dec", "b_dec"))
    encoder, threshold, k = encoder.T, None, None
    if config["activation_fn_str"] == "topk":
        inside = config.get("activation_fn_kwargs", {})
        k = need_count(path, inside, "k", within="activation_fn_kwargs.")
    if config["architecture"] == "gated":
        if k is not None:
            raise ValueError(f"{path}: a gate before topk has no counterpart here; only relu has")
        names = ("r_mag", "b_mag", "b_gate")
        encoder, bias, threshold = without_gate(encoder, *need(weights, state, names))
    else:
        (bias,) = need(weights, state, ("b_enc",))
    dictionary = unscaled(
        encoder,
        bias,
        decoder,
        centre,
        k=k,
        threshold=threshold,
        per_token=sees_one_scale("prisma", config),
    )
    return dictionary, config


def _check_site(path: Path, source: Source, config: dict[str, Any]) -> None:
    """Refuse a dictionary of another layer, token or part of a block than is to be read."""
    if source.layer is None:
        return
    block, part = config.get("hook_point_layer"), config.get("layer_subtype")
    if (block, part) != (source.layer - 1, SITE) or config.get("hook_point_head_index") is not None:
        raise ValueError(
            f"{path}: trained on blocks.{block}.{part}, not on the output of layer {source.layer}, "
            f"which is blocks.{source.layer - 1}.{SITE} there; correct layer, or choose another"
        )
    if config.get("cls_token_only") and source.token != "cls":
        raise ValueError(f"{path}: trained on class tokens, not on {source.token}; correct token")
    if config.get("use_patches_only") and source.token != "patches":
        raise ValueError(f"{path}: trained on patches, not on {source.token}; correct token")
