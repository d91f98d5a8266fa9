"""A finished dictionary: what every variant, trained or not, comes down to.

With x' = (x − mean) / scale,

    z = TopK_k(ReLU(W_enc (x' − b_dec) + b_enc)),    x̂' = W_decᵀ z + b_dec,

where k = None keeps every positive value. docs/dictionaries.md describes the files, so that other
code can encode, too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from cladescope.files import read_json, write_aside, write_json

FORMAT = "cladescope-dictionary-1"
TENSORS = ("encoder", "encoder_bias", "decoder", "decoder_bias", "mean")


@dataclass(frozen=True)
class Dictionary:
    """Encoder, decoder and normalisation of a dictionary over d-dimensional activations."""

    encoder: Float[np.ndarray, "width d"]
    encoder_bias: Float[np.ndarray, " width"]
    decoder: Float[np.ndarray, "width d"]
    """Rows of unit norm."""
    decoder_bias: Float[np.ndarray, " d"]
    mean: Float[np.ndarray, " d"]
    """Mean of the training activations."""
    scale: float
    """Root mean square of the centred training activations over images and dimensions."""
    k: int | None = None
    """Latents kept per image; None keeps every positive one."""

    @property
    def width(self) -> int:
        """Number of latents."""
        return len(self.encoder)

    def normalise(self, x: Float[np.ndarray, "images d"]) -> Float[np.ndarray, "images d"]:
        """Return x' = (x − mean) / scale as float32."""
        return (x.astype(np.float32) - self.mean) / np.float32(self.scale)

    def decode(self, z: Float[np.ndarray, "images width"]) -> Float[np.ndarray, "images d"]:
        """Return the reconstruction x̂' in normalised units."""
        return z @ self.decoder + self.decoder_bias

    def save(self, path: str | Path, identity: dict[str, Any]) -> None:
        """Write `path` (safetensors) and beside it a JSON file with scale, k and `identity`."""
        path = Path(path)
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in TENSORS}
        with write_aside(path) as aside:
            save_file(tensors, aside)
        write_json(
            path.with_suffix(".json"),
            {"format": FORMAT, "scale": self.scale, "k": self.k, "identity": identity},
        )

    @classmethod
    def load(cls, path: str | Path) -> "Dictionary":
        """Read what `save` wrote; ValueError if the file is of another format."""
        path = Path(path)
        about = read_json(path.with_suffix(".json"))
        if about.get("format") != FORMAT:
            raise ValueError(f"{path} is not a dictionary of format {FORMAT}; train it again")
        return cls(**load_file(path), scale=about["scale"], k=about["k"])
