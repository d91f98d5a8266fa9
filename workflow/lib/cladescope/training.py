"""From activations to a saved dictionary of any variant."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from cladescope.files import write_aside
from cladescope.variants import fit_dictionary
from cladescope.variants.base import FitSpec


def train_dictionary(
    variant: str,
    x: Float[np.ndarray, "images d"],
    spec: FitSpec,
    weights: str | Path,
    log: str | Path,
) -> None:
    """Fit `variant` to x and write the dictionary, then its training log as parquet.

    The log of a variant that is not trained has no rows.
    """
    fit = fit_dictionary(variant, x, spec)
    fit.dictionary.save(weights, {"variant": variant, **asdict(spec)})
    with write_aside(log) as aside:
        pq.write_table(pa.table(fit.log), aside)
