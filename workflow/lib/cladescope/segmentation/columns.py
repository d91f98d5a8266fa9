"""Codes of patches by latent: made anew from the activations, and never all in memory."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int
from scipy.sparse import csc_array, csr_array, vstack

from cladescope.activations.store import ActivationStore
from cladescope.codes.encode import ImageBlocks, encoder_of
from cladescope.dictionaries.dictionary import Dictionary

NONZEROS = 50_000_000
"""Codes in memory at a time, of 12 bytes each; where there are more, patches are encoded again."""


def latent_columns(
    dictionary: Dictionary,
    store: ActivationStore,
    images: Int[np.ndarray, " images"],
    latents: Int[np.ndarray, " latents"],
    most: int = NONZEROS,
) -> Iterator[tuple[Int[np.ndarray, " part"], csc_array]]:
    """Yield the activations of some latents on all stored patches of some images, in parts.

    Parameters
    ----------
    images
        Ids, ascending.
    latents
        Ascending.
    most
        Non-zeros of a part, about: what the first images have is taken for all of them.

    Yields
    ------
    The latents of a part, and float32 (patches, latents of the part).
    """
    if not (len(images) and len(latents)):
        return
    first = next(_rows(dictionary, store, images, latents))
    fires = max(1.0, first.nnz / first.shape[0] * len(images) * store.shape[1])
    per_pass = max(1, int(len(latents) * min(1.0, most / fires)))
    for start in range(0, len(latents), per_pass):
        part = latents[start : start + per_pass]
        rows = [*_rows(dictionary, store, images, part)]
        yield part, csc_array(vstack(rows, format="csc"))


def _rows(
    dictionary: Dictionary,
    store: ActivationStore,
    images: Int[np.ndarray, " images"],
    latents: Int[np.ndarray, " latents"],
) -> Iterator[csr_array]:
    """Yield the codes of a few thousand patches at a time."""
    encode = encoder_of(dictionary)
    for x in ImageBlocks(store, images):
        z = encode(dictionary.normalise(x.reshape(-1, x.shape[2])))
        yield csr_array(z[:, latents])
