"""From activations to sparse codes and their quality. Needs numpy only: no job waits for torch."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cladescope.codes import Codes
from cladescope.dictionary import Dictionary
from cladescope.downstream import downstream_accuracy
from cladescope.quality import Reconstruction, redundant_share

ROWS = 4096
"""Tokens that are dense at a time."""


def encode(
    dictionary: Dictionary,
    x: Float[np.ndarray, "images tokens d"],
    labels: Int[np.ndarray, " images"],
) -> tuple[Codes, dict[str, Any]]:
    """Return the codes of one split, and how well the dictionary does on it.

    A latent's activation on an image is the largest over the image's tokens. Quality is over
    tokens; docs/dictionaries.md lists its columns. `labels` are the images' classes.
    """
    n_images, tokens, d = x.shape
    quality = Reconstruction(dictionary.width)
    parts = []
    original, reconstruction = np.empty((2, n_images, d), np.float32)
    per_block = max(1, ROWS // tokens)
    for start in range(0, n_images, per_block):
        images = slice(start, start + per_block)
        target = dictionary.normalise(x[images].reshape(-1, d))
        z = dictionary.encode(target)
        guess = dictionary.decode(z)
        quality.add(target, guess, z)
        original[images] = target.reshape(-1, tokens, d).mean(1)
        reconstruction[images] = guess.reshape(-1, tokens, d).mean(1)
        strongest = z.reshape(-1, tokens, dictionary.width).max(1)
        image, latent = np.nonzero(strongest)
        parts.append((image + start, latent, strongest[image, latent]))
    image, latent, activation = (np.concatenate(column) for column in zip(*parts, strict=True))
    codes = Codes(
        image.astype(np.int32), latent.astype(np.int32), activation, n_images, dictionary.width
    )
    return codes, {
        **quality.result(),
        "redundant_share": redundant_share(dictionary.decoder),
        **downstream_accuracy(original, reconstruction, labels),
    }
