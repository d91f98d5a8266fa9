"""How well a dictionary reconstructs held-out activations, and how sparsely."""

import numpy as np
from jaxtyping import Float

from cladescope.codes import Codes
from cladescope.dictionary import Dictionary

DENSE_RATE = 0.5


def measure_quality(
    dictionary: Dictionary, codes: Codes, x: Float[np.ndarray, "images d"]
) -> dict[str, float | int]:
    """Return reconstruction and sparsity on one split, accumulated in float64.

    - `fve`: fraction of variance explained, 1 − Σ‖x−x̂‖² / Σ‖x−x̄‖² over the whole split, x̄ being
      the split's own mean (0 for the mean predictor, 1 for the identity);
    - `l0`: mean number of latents that fire per image;
    - `dead_share`: share of latents that fire on no image of the split;
    - `dense_share`: share of latents that fire on more than half of its images.
    """
    target = dictionary.normalise(x)
    residual = sum(
        float(np.square(target[start : start + len(z)] - dictionary.decode(z), dtype=float).sum())
        for start, z in codes.dense_blocks()
    )
    total = float(np.square(target - target.mean(0, dtype=float), dtype=float).sum())
    firing = np.bincount(codes.latent, minlength=codes.width)
    return {
        "width": codes.width,
        "fve": 1 - residual / total,
        "l0": len(codes.image) / codes.n_images,
        "dead_share": float((firing == 0).mean()),
        "dense_share": float((firing > DENSE_RATE * codes.n_images).mean()),
    }
