"""Dictionaries of openai/sparse_autoencoder (commit 4965b94): one file, a state as torch saves it.

The published ones are called after their layer, `6.pt`; the layer is a block's output where the
location is `resid_post_mlp`, which the file does not say (`paths.py`). The state holds the
activation by name (`model.py`, `Autoencoder.state_dict`):

    z = S(W (x − pre_bias) + latent_bias),    x̂ = D z + pre_bias,

with `encoder.weight` W of width × d and `decoder.weight` D of d × width. S is `ReLU`, of raw
activations, or `TopK` with a ReLU after it, which sees each token at mean 0 and standard deviation
1, as `from_state_dict` has it for every TopK.
"""

from typing import Any

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import Source, sees_one_scale
from cladescope.dictionaries.exchange.tensors import need, read_tensors, unscaled

TENSORS = ("encoder.weight", "latent_bias", "decoder.weight", "pre_bias")


def read(source: Source) -> tuple[Dictionary, dict[str, Any]]:
    """Return the dictionary in the file, and its activation.

    Raises
    ------
    ValueError
        For other activations, and tied weights, of which the state names no decoder.
    """
    (path,) = source.files
    state = read_tensors(path)
    activation = state.get("activation", "ReLU")
    inside = state.get("activation_state_dict", {})
    after = inside.get("postact_fn", "ReLU")
    if activation not in ("ReLU", "TopK") or after != "ReLU":
        raise ValueError(
            f"{path}: activation {activation} followed by {after} has no counterpart here; only "
            "ReLU and TopK followed by ReLU can be imported"
        )
    encoder, bias, decoder, centre = need(path, state, TENSORS)
    dictionary = unscaled(
        encoder,
        bias,
        decoder.T,
        centre,
        k=int(inside["k"]) if activation == "TopK" else None,
        per_token=sees_one_scale("openai", state),
    )
    return dictionary, {"activation": activation, **inside}
