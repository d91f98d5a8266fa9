"""TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093).

With x' the normalised activation and z = TopK_k(ReLU(W_enc (x' − b_dec) + b_enc)),

    L = ‖x' − x̂'‖² / d + α ‖e − ê‖² / ‖e − ē‖²,    e = x' − x̂' (detached),

where ê decodes, without b_dec, the k_aux largest pre-activations among the dead latents (AuxK,
their section A.2); its gradient reaches the encoder. E‖x'‖² = d, so the first term is the
normalised MSE. `sparsity` is k.
"""

import logging
from functools import partial

from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.initial import Beginning, initial_dictionary
from cladescope.dictionaries.training.loop import Learner
from cladescope.dictionaries.training.processor_step import SparseTopK
from cladescope.dictionaries.training.schedule import Pace, adam_betas
from cladescope.dictionaries.training.spec import FitSpec
from cladescope.dictionaries.training.stepwise import Stepwise
from cladescope.machines import fast_in_bfloat16, has_gpu

LONG_WORK = 2e12
"""Operations of a run's encoder products from which the screen repays torch's import."""


def begin(beginning: Beginning, spec: FitSpec, steps: int, threads: int) -> Learner:
    """Return the autoencoder before the first of so many steps.

    On a GPU torch does the work, elsewhere compiled loops, which give the same weights up to
    rounding. In a long run these screen the encoder in bfloat16, where the processor has AMX.
    """
    assert spec.recipe and spec.sparsity
    if has_gpu():
        from cladescope.dictionaries.training.gpu_step import begin_on_device
        from cladescope.dictionaries.training.plain_step import TopK

        return begin_on_device(TopK, beginning, spec, steps)
    start = initial_dictionary(beginning, spec, k=int(spec.sparsity))
    work = 2 * steps * spec.recipe.batch_size * start.encoder.size
    screen = None
    if work >= LONG_WORK and fast_in_bfloat16():
        from cladescope.dictionaries.training.screening import Screen

        logging.info("the encoder is screened in bfloat16")
        screen = Screen(*start.encoder.shape)
    stepper = SparseTopK(start, spec.recipe.aux_coefficient, adam_betas(steps), threads, screen)
    return Stepwise(stepper, Pace.of(spec, steps))


train = partial(fit_trained, begin)
