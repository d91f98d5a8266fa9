"""From activations to sparse codes. Needs numpy only: no encoding job waits for torch."""

import numpy as np
from jaxtyping import Float

from cladescope.codes import Codes
from cladescope.dictionary import Dictionary


def encode(dictionary: Dictionary, x: Float[np.ndarray, "images d"], rows: int = 4096) -> Codes:
    """Return the sparse codes of raw activations, computed in blocks of `rows` images."""
    k = dictionary.k
    parts = []
    for start in range(0, len(x), rows):
        centred = dictionary.normalise(x[start : start + rows]) - dictionary.decoder_bias
        z = np.maximum(centred @ dictionary.encoder.T + dictionary.encoder_bias, 0)
        image, latent = np.nonzero(_keep_largest(z, k) if k else z)
        parts.append((image + start, latent, z[image, latent]))
    image, latent, activation = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Codes(
        image.astype(np.int32), latent.astype(np.int32), activation, len(x), dictionary.width
    )


def _keep_largest(z: Float[np.ndarray, "images width"], k: int) -> np.ndarray:
    """Mark the k largest positive values of each row; among equals the lower latent wins."""
    threshold = -np.partition(-z, k - 1, axis=1)[:, k - 1 : k]
    above = z > threshold
    room = k - above.sum(1, keepdims=True)
    tied = (z == threshold) & (z > 0)
    return above | (tied & (tied.cumsum(1) <= room))
