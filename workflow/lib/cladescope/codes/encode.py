"""From activations to sparse codes and their quality; no job without a GPU waits for torch."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from cladescope.activations.store import ActivationStore
from cladescope.codes.codes import Codes
from cladescope.codes.quality import Reconstruction, downstream_accuracy, redundant_share
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.machines import has_gpu, torch_device

ROWS = 4096
"""Tokens that are dense at a time."""


def encode(
    dictionary: Dictionary,
    blocks: Iterable[Float[np.ndarray, "images tokens d"]],
    labels: Int[np.ndarray, " images"],
) -> tuple[Codes, dict[str, Any]]:
    """Return the codes of one split, and how well the dictionary does on it.

    A latent's activation on an image is the largest over the image's tokens. Quality is over
    tokens; docs/dictionaries.md lists its columns.

    Parameters
    ----------
    blocks
        Raw activations of the split's images in their order, cut as memory allows.
    labels
        Class of each image.

    Raises
    ------
    ValueError
        As `Dictionary.normalise` does.
    """
    quality, reconstruct = Reconstruction(dictionary.width), _reconstruction(dictionary)
    parts = []
    original, reconstruction = np.empty((2, len(labels), len(dictionary.mean)), np.float32)
    start = 0
    for x in blocks:
        _, tokens, d = x.shape
        images = slice(start, start + len(x))
        rows = x.reshape(-1, d)
        target = dictionary.normalise(rows)
        z, guess = reconstruct(target)
        if dictionary.per_token:
            # One unit for all tokens, else those of a small σ would count as much as the others.
            target, guess = rows, rows + (guess - target) * dictionary.unit(rows)
        quality.add(target, guess, z)
        original[images] = target.reshape(-1, tokens, d).mean(1)
        reconstruction[images] = guess.reshape(-1, tokens, d).mean(1)
        strongest = z.reshape(-1, tokens, dictionary.width).max(1)
        image, latent = (indices.astype(np.int32) for indices in np.nonzero(strongest))
        parts.append((image + np.int32(start), latent, strongest[image, latent]))
        start += len(x)
    image, latent, activation = (np.concatenate(column) for column in zip(*parts, strict=True))
    # As large as the codes, which are dense for a baseline such as raw neurons.
    parts.clear()
    codes = Codes(image, latent, activation, n_images=start, width=dictionary.width)
    return codes, {
        **quality.result(),
        "redundant_share": redundant_share(dictionary.decoder),
        **downstream_accuracy(original, reconstruction, labels),
    }


def firing(
    dictionary: Dictionary,
    blocks: Iterable[Float[np.ndarray, "images tokens d"]],
    latents: Int[np.ndarray, " latents"],
) -> Bool[np.ndarray, "images latents"]:
    """Return on which of a split's images some latents fire, on any token.

    Parameters
    ----------
    blocks
        As for `encode`.
    """
    nothing = np.empty((0, len(latents)), bool)
    return np.concatenate(
        [nothing, *(z[:, latents] > 0 for z in codes_of_images(dictionary, blocks))]
    )


def codes_of_images(
    dictionary: Dictionary, blocks: Iterable[Float[np.ndarray, "images tokens d"]]
) -> Iterator[Float[np.ndarray, "images width"]]:
    """Yield, for each block, the activations of each image's latents, the largest over its tokens.

    Parameters
    ----------
    blocks
        As for `encode`.
    """
    encode_rows = encoder_of(dictionary)
    for x in blocks:
        n, tokens, d = x.shape
        yield encode_rows(dictionary.normalise(x.reshape(-1, d))).reshape(n, tokens, -1).max(1)


def encoder_of(dictionary: Dictionary) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives codes of normalised activations, on a GPU if it can."""
    if has_gpu():
        reconstruct = _reconstruction(dictionary)
        return lambda x: reconstruct(x)[0]
    return dictionary.encode


def _reconstruction(
    dictionary: Dictionary,
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return what gives codes and reconstruction of normalised activations, on a GPU if it can."""
    if has_gpu():
        from cladescope.dictionaries.on_device import OnDevice

        return OnDevice(dictionary, torch_device()).reconstruct

    def reconstruct(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = dictionary.encode(x)
        return z, dictionary.decode(z)

    return reconstruct


class ImageBlocks:
    """A store's images in order, all or some, a few thousand tokens at a time.

    Every shard is verified when it is first read, however often the images are gone through; raises
    DamagedError, which names it.

    Parameters
    ----------
    images
        Ids of those that are wanted, ascending; None for all.
    """

    def __init__(self, store: ActivationStore, images: Int[np.ndarray, " images"] | None = None):
        self._store = store
        self._images = np.arange(store.shape[0]) if images is None else images
        # One token per image fits in memory.
        self._whole = store.read() if store.shape[1] == 1 else None
        self._verified: set[int] = set()

    def __iter__(self) -> Iterator[Shaped[np.ndarray, "images tokens d"]]:
        per_block = max(1, ROWS // self._store.shape[1])
        for start in range(0, len(self._images), per_block):
            images = self._images[start : start + per_block]
            yield self._read(images) if self._whole is None else self._whole[images]

    def _read(self, images: np.ndarray) -> np.ndarray:
        store = self._store
        unread = {*(images // store.plan.rows_per_shard).tolist()} - self._verified
        store.raise_faults(filter(None, map(store.fault, sorted(unread))))
        self._verified |= unread
        return store.gather(images)
