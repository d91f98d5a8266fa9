"""Dictionaries to and from SAELens's files: `cfg.json` and `sae_weights.safetensors` (version 6).

SAELens takes raw activations. With b = mean + scale · b_dec ours is, in units of z · scale,

    W_enc = encoderᵀ,   b_enc = scale · encoder_bias,   θ = scale · threshold,
    W_dec = decoder,    b_dec = b,

and `apply_b_dec_to_input`, so that W_enc sees x − b. A dictionary with k becomes architecture
`topk`, one with thresholds `jumprelu` (as SAELens itself saves BatchTopK), any other `standard`.
Of `gated` the gate becomes a threshold, and `layer_norm` brings each token to mean 0 and standard
deviation 1 first. `matching_pursuit` is read where it takes a fixed number of steps.
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from cladescope.dictionaries.dictionary import Dictionary, with_unit_rows
from cladescope.dictionaries.exchange import AGAIN, FILES, Source, sees_one_scale
from cladescope.dictionaries.exchange.tensors import (
    need,
    need_count,
    read_tensors,
    unscaled,
    without_gate,
)
from cladescope.files import read_json, write_aside, write_json

CONFIG, WEIGHTS = FILES["saelens"]
ALLOWED = {
    "architecture": ("standard", "topk", "jumprelu", "gated", "matching_pursuit"),
    "normalize_activations": ("none", "layer_norm"),
    "reshape_activations": ("none",),
    "dtype": ("float32", "float16", "bfloat16"),
}
"""What can be read, by the key of `cfg.json`; first what a missing key means."""


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
    if dictionary.parents or dictionary.pursuit or dictionary.per_token:
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


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the folder, and its configuration.

    Raises
    ------
    ValueError
        If a file cannot be read, lacks something or holds what a dictionary cannot express; names
        the file and what it is.
    """
    path, stored = source.files
    config = read_json(path, AGAIN)
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not what SAELens writes: no keys and values; {AGAIN}")
    architecture = config.get("architecture", "standard")
    pursuit = architecture == "matching_pursuit"
    for key, values in ALLOWED.items():
        if config.get(key, values[0]) not in values:
            raise ValueError(
                f"{path}: {key} {config[key]!r} has no counterpart here; only "
                f"{', '.join(map(str, values))} can be imported"
            )
    stops = config.get("residual_threshold", 1) > 0 or config.get("stop_on_duplicate_support", True)
    if pursuit and stops:
        raise ValueError(
            f"{path}: matching pursuit that stops by residual_threshold or "
            "stop_on_duplicate_support has no counterpart here; only a fixed number of steps has"
        )
    name = {"topk": "k", "matching_pursuit": "max_iterations"}.get(architecture)
    k = need_count(path, config, name) if name else None
    encoder, bias, decoder, centre, threshold = _tensors(stored, architecture)
    if decoder.shape != encoder.shape or len(centre) != encoder.shape[1]:
        shapes = f"W_enc {encoder.T.shape}, W_dec {decoder.shape}, b_dec {centre.shape}"
        raise ValueError(f"{stored}: {shapes} do not fit; {AGAIN}")
    if not config.get("apply_b_dec_to_input", True):
        if pursuit:
            # Its decoder then leaves b_dec out, too.
            centre = np.zeros_like(centre)
        bias = bias + encoder @ centre
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm"):
        # It then ranks latents by activation times norm, and decodes with rows of norm 1.
        encoder, bias, decoder = with_unit_rows(encoder, bias, decoder)
    dictionary = unscaled(
        encoder,
        bias,
        decoder,
        centre,
        k=k,
        threshold=threshold,
        pursuit=pursuit,
        per_token=sees_one_scale("saelens", config),
    )
    return dictionary, config


def _tensors(stored: Path, architecture: str) -> tuple[Any, ...]:
    """Return encoder (width, d), its bias, decoder (width, d), b_dec and θ, if there is one."""
    tensors = read_tensors(stored)
    decoder, centre = need(stored, tensors, ("W_dec", "b_dec"))
    if architecture == "matching_pursuit":
        return decoder, np.zeros(len(decoder), np.float32), decoder, centre, None
    if architecture == "gated":
        names = ("W_enc", "r_mag", "b_mag", "b_gate")
        weight, *rest = need(stored, tensors, names)
        encoder, bias, threshold = without_gate(weight.T, *rest)
        return encoder, bias, decoder, centre, threshold
    names = ("W_enc", "b_enc", *(("threshold",) if architecture == "jumprelu" else ()))
    weight, bias, *others = need(stored, tensors, names)
    # Below 0 as at 0: everything positive is kept.
    theta = np.maximum(others[0], 0) if others else None
    return weight.T, bias, decoder, centre, theta
