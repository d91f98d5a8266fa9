"""Diagnostic: the decoder of a trained TopK autoencoder, read by likeness instead of its encoder.

    z = s TopK_k(ReLU(D (x' − b_dec))),

D and b_dec those of `variants.topk` of the same width, sparsity and seed, to the bit, and s the
factor that reconstructs best. An encoder learns to leave out what other latents explain; what this
scores above `topk` is what that has cost. `sparsity` is k.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from cladescope.dictionaries.training.batches import Source
from cladescope.dictionaries.training.checkpoint import Checkpoint
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.initial import scaled
from cladescope.dictionaries.training.spec import Fit, FitSpec
from cladescope.dictionaries.variants.topk import begin


def train(
    source: Source,
    specs: Sequence[FitSpec],
    done: Callable[[int, Fit], None],
    threads: int = 1,
    checkpoints: Sequence[Checkpoint] = (),
) -> None:
    """Train TopK autoencoders as `fit_trained` does, and report how their decoders read."""

    def read(number: int, fit: Fit) -> None:
        found = fit.dictionary
        bias = found.encoder_bias * 0
        # As for calibration: what training has checked is not checked again.
        alike = replace(found, encoder=found.decoder, encoder_bias=bias)
        done(number, Fit(scaled(alike, next(source.afresh().blocks())), fit.log))

    fit_trained(begin, source, specs, read, threads, checkpoints)
