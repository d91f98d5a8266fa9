"""A finished dictionary: what every variant, trained or not, comes down to.

With x' = (x − mean) / scale,

    z = TopK_k(ReLU(W_enc (x' − b_dec) + b_enc)),    x̂' = W_decᵀ z + b_dec,

where k = None keeps every positive value. Encoding needs numpy only; docs/dictionaries.md
describes the files so that other code can encode, too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from cladescope.codes import Codes
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

    def encode(self, x: Float[np.ndarray, "images d"], rows: int = 4096) -> Codes:
        """Return the sparse codes of raw activations, computed in blocks of `rows` images."""
        parts = []
        for start in range(0, len(x), rows):
            centred = self.normalise(x[start : start + rows]) - self.decoder_bias
            z = np.maximum(centred @ self.encoder.T + self.encoder_bias, 0)
            image, latent = np.nonzero(_keep_largest(z, self.k) if self.k else z)
            parts.append((image + start, latent, z[image, latent]))
        image, latent, activation = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Codes(
            image.astype(np.int32), latent.astype(np.int32), activation, len(x), self.width
        )

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


def _keep_largest(z: Float[np.ndarray, "images width"], k: int) -> np.ndarray:
    """Mark the k largest positive values of each row; among equals the lower latent wins."""
    threshold = -np.partition(-z, k - 1, axis=1)[:, k - 1 : k]
    above = z > threshold
    room = k - above.sum(1, keepdims=True)
    tied = (z == threshold) & (z > 0)
    return above | (tied & (tied.cumsum(1) <= room))
