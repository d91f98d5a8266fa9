"""TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093).

With x' the normalised activation and z = TopK_k(ReLU(W_enc (x' − b_dec) + b_enc)),

    L = ‖x' − x̂'‖² / d + α ‖e − ê‖² / ‖e − ē‖²,    e = x' − x̂' (detached),

where ê decodes, without b_dec, the k_aux largest pre-activations among the dead latents (AuxK,
their section A.2); its gradient reaches the encoder. E‖x'‖² = d, so the first term is the
normalised MSE. `sparsity` is k.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from cladescope.dictionaries.training.base import Fit, FitSpec, Job, initial_dictionary
from cladescope.dictionaries.training.batches import Source
from cladescope.dictionaries.training.loop import adam_betas, n_steps, train
from cladescope.machines import fast_in_bfloat16

GPU_DRIVER = Path("/dev/nvidiactl")
LONG_WORK = 2e12
"""Floating-point operations of a run's products from which torch's import repays."""


def fit(source: Source, spec: FitSpec, job: Job) -> Fit:
    """Train on a source; the seed fixes the initialisation and the order of the rows.

    On a machine with a GPU torch does the work, elsewhere compiled loops, which give the same
    weights up to rounding. In a long run these have torch multiply by the encoder, in bfloat16 as a
    screen where the processor has AMX.

    Raises
    ------
    FloatingPointError
        If the loss is not finite; names the step, the loss and the learning rate.
    """
    assert spec.recipe and spec.sparsity
    if GPU_DRIVER.exists():
        from cladescope.dictionaries.training.dense_topk import TopK
        from cladescope.dictionaries.training.reference import fit_autoencoder

        return fit_autoencoder(TopK, source, spec, job)
    from cladescope.dictionaries.training.processor import Multiply, SparseTopK

    start = initial_dictionary(source, spec, k=int(spec.sparsity))
    steps = n_steps(spec.recipe, source)
    screen = None
    multiply: Multiply = np.matmul
    work = 2 * steps * spec.recipe.batch_size * start.encoder.size
    if work >= LONG_WORK and fast_in_bfloat16():
        from cladescope.dictionaries.training.screening import Screen

        logging.info("the encoder is screened in bfloat16")
        screen = Screen(*start.encoder.shape)
    elif work >= LONG_WORK:
        from cladescope.dictionaries.training import torch_product

        multiply = torch_product.multiply
    betas = adam_betas(steps)
    learner = SparseTopK(start, spec.recipe.aux_coefficient, betas, job.threads, screen, multiply)
    log = train(learner, start, source, spec, job)
    return Fit(replace(start, **learner.finished([])), log)
