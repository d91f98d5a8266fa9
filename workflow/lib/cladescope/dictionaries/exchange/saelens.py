"""Dictionaries to and from SAELens's files: `cfg.json` and `sae_weights.safetensors` (version 6).

SAELens takes raw activations. With b = mean + scale · b_dec ours is, in units of z · scale,

    W_enc = encoderᵀ,   b_enc = scale · encoder_bias,   θ = scale · threshold,
    W_dec = decoder,    b_dec = b,

and `apply_b_dec_to_input`, so that W_enc sees x − b. A dictionary with k becomes architecture
`topk`, one with thresholds `jumprelu` (as SAELens itself saves BatchTopK), any other `standard`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from cladescope.dictionaries.dictionary import Dictionary, with_unit_rows
from cladescope.dictionaries.exchange import AGAIN, FILES
from cladescope.files import read_json, reading, write_aside, write_json

CONFIG, WEIGHTS = FILES["saelens"]
ARCHITECTURES = ("standard", "topk", "jumprelu")
NEEDED = ("W_enc", "W_dec", "b_enc", "b_dec")


def export_saelens(weights: str | Path, folder: str | Path) -> None:
    """Write the dictionary at `weights` as files that `sae_lens.SAE.load_from_disk` reads.

    Raises
    ------
    ValueError
        If latents stand in trees, which SAELens cannot express, or fire by a rule, which is not
        exported.
    """
    dictionary = Dictionary.load(weights)
    if dictionary.paths:
        raise ValueError(f"{weights}: latents stand in trees, which SAELens cannot express")
    if dictionary.parents or dictionary.pursuit:
        raise ValueError(f"{weights}: latents fire by a rule, which is not exported to SAELens")
    about = read_json(Path(weights).with_suffix(".json"))
    scale = np.float32(dictionary.scale)
    tensors = {
        "W_enc": dictionary.encoder.T,
        "b_enc": scale * dictionary.encoder_bias,
        "W_dec": dictionary.decoder,
        "b_dec": dictionary.mean + scale * dictionary.decoder_bias,
    }
    config: dict[str, Any] = {
        "architecture": "standard",
        "d_in": len(dictionary.mean),
        "d_sae": dictionary.width,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"cladescope": about["identity"]},
    }
    if dictionary.k:
        config |= {"architecture": "topk", "k": dictionary.k, "rescale_acts_by_decoder_norm": False}
    elif dictionary.threshold is not None:
        config["architecture"] = "jumprelu"
        threshold = np.broadcast_to(dictionary.threshold, dictionary.width)
        tensors["threshold"] = scale * threshold
    with write_aside(Path(folder) / WEIGHTS) as aside:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, aside)
    write_json(Path(folder) / CONFIG, config)


def read(folder: Path) -> Dictionary:
    """Return the dictionary in `folder`.

    Raises
    ------
    ValueError
        If a file cannot be read, lacks something or holds what a dictionary cannot express; names
        the file and what it is.
    """
    path, stored = folder / CONFIG, folder / WEIGHTS
    config = read_json(path, AGAIN)
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not what SAELens writes: no keys and values; {AGAIN}")
    allowed = {
        "architecture": ARCHITECTURES,
        "normalize_activations": ("none",),
        "reshape_activations": ("none",),
        "dtype": ("float32", "float16"),
    }
    for key, values in allowed.items():
        if config.get(key, values[0]) not in values:
            raise ValueError(
                f"{path}: {key} {config[key]!r} has no counterpart here; only "
                f"{', '.join(values)} can be imported"
            )
    architecture = config.get("architecture")
    is_topk = architecture == "topk"
    if is_topk and not (isinstance(config.get("k"), int) and config["k"] > 0):
        raise ValueError(f"{path}: k is {config.get('k')!r}, it must be a number of latents")
    with reading(stored, AGAIN):
        tensors = {name: value.astype(np.float32) for name, value in load_file(stored).items()}
    needed = (*NEEDED, "threshold") if architecture == "jumprelu" else NEEDED
    if missing := [name for name in needed if name not in tensors]:
        raise ValueError(f"{stored} lacks {', '.join(missing)}; {AGAIN}")
    encoder, decoder = tensors["W_enc"].T, tensors["W_dec"]
    bias, centre = tensors["b_enc"], tensors["b_dec"]
    if decoder.shape != encoder.shape or len(centre) != encoder.shape[1]:
        shapes = f"W_enc {encoder.T.shape}, W_dec {decoder.shape}, b_dec {centre.shape}"
        raise ValueError(f"{stored}: {shapes} do not fit; {AGAIN}")
    if not config.get("apply_b_dec_to_input", True):
        bias = bias + encoder @ centre
    if is_topk and config.get("rescale_acts_by_decoder_norm"):
        # It then ranks latents by activation times norm, and decodes with rows of norm 1.
        encoder, bias, decoder = with_unit_rows(encoder, bias, decoder)
    return Dictionary(
        encoder=encoder,
        encoder_bias=bias,
        decoder=decoder,
        decoder_bias=centre,
        mean=np.zeros_like(centre),
        scale=1.0,
        k=config["k"] if is_topk else None,
        threshold=tensors.get("threshold"),
    )
