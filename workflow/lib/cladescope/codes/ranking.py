"""The one order in which a latent's images are looked at: strongest first."""

from dataclasses import replace

import numpy as np

from cladescope.codes.codes import Codes


def strongest_first(codes: Codes) -> Codes:
    """Sort codes by latent, then decreasing activation, then image.

    Examples
    --------
    >>> image, activation = np.array([0, 1, 2, 2]), np.array([1, 3, 3, 5], np.float32)
    >>> codes = Codes(image, np.array([0, 0, 0, 1]), activation, n_images=3, width=2)
    >>> strongest_first(codes).image.tolist()
    [1, 2, 0, 2]
    """
    order = np.lexsort((codes.image, -codes.activation, codes.latent))
    return replace(
        codes,
        image=codes.image[order],
        latent=codes.latent[order],
        activation=codes.activation[order],
    )
