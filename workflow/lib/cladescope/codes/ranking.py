"""The one order in which a latent's images are looked at: strongest first."""

from dataclasses import replace

import numpy as np

from cladescope.codes.codes import Codes

# Stream of the seed; the others are in scores/nulls.py.
_TIE_STREAM = 7


def strongest_first(codes: Codes, seed: int) -> Codes:
    """Sort codes by latent, then decreasing activation; ties in an order drawn for the latent.

    Images are sorted by class, so that ties in their order would favour the first classes. Latents
    take one random order of the images, each from a random place on and then from the start.

    Examples
    --------
    >>> image, activation = np.array([0, 1, 2, 3]), np.array([1, 3, 2, 5], np.float32)
    >>> codes = Codes(image, np.array([0, 0, 0, 1]), activation, n_images=4, width=2)
    >>> strongest_first(codes, seed=0).image.tolist()
    [1, 2, 0, 3]
    """
    random = np.random.default_rng((seed, _TIE_STREAM))
    place = random.permutation(codes.n_images)
    first = random.integers(codes.n_images, size=codes.width)
    turn = (place[codes.image] - first[codes.latent]) % codes.n_images
    order = np.lexsort((turn, -codes.activation, codes.latent))
    return replace(
        codes,
        image=codes.image[order],
        latent=codes.latent[order],
        activation=codes.activation[order],
    )
