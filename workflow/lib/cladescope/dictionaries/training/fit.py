"""Dictionaries of a trained variant, from one reading of a source.

The variants reach it, not `train.py`: a change of the training loop makes no baseline again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, zip_longest

from cladescope.activations.store import DamagedError
from cladescope.dictionaries.training.batches import Source, batches, in_turn
from cladescope.dictionaries.training.checkpoint import Checkpoint
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.loop import Learner, Read, Run, train
from cladescope.dictionaries.training.schedule import n_steps
from cladescope.dictionaries.training.spec import Fit, FitSpec
from cladescope.machines import has_gpu, make_deterministic, torch_device

CALIBRATION_BATCHES = 64
"""Batches of training data from which thresholds for inference are read."""

Begin = Callable[[Beginning, FitSpec, int, int], Learner]
"""Returns an autoencoder before its first step, given the number of steps and of threads."""


def fit_trained(
    begin: Begin,
    source: Source,
    specs: Sequence[FitSpec],
    done: Callable[[int, Fit], None],
    threads: int = 1,
    checkpoints: Sequence[Checkpoint] = (),
) -> None:
    """Train dictionaries side by side; report each by its number as it ends.

    Parameters
    ----------
    checkpoints
        One for each, or none at all.

    Raises
    ------
    FloatingPointError
        If a loss is not finite; the others are trained to their end first.
    DamagedError
        If rows are not what was extracted; nothing that was learnt from them is kept.
    """
    make_deterministic()
    stream = source.blocks()
    rows = next(stream)
    beginning = Beginning.of(rows)
    runs = []
    for spec, checkpoint in zip_longest(specs, checkpoints):
        assert spec.recipe
        learner = begin(beginning, spec, n_steps(spec.recipe, source.tokens), threads)
        runs.append(Run(learner, source, spec, checkpoint))
    from_first = chain([rows], stream)
    # A block may take a good part of the memory.
    del rows, beginning

    def finish(run: Run) -> None:
        source.check()
        done(runs.index(run), _finish(run, source))

    try:
        train(runs, lambda block: source.blocks(block) if block else from_first, finish, _reader())
    except DamagedError:
        # They have learnt from what is damaged.
        for checkpoint in checkpoints:
            checkpoint.path.unlink(missing_ok=True)
        raise


def _reader() -> Read:
    """Return how blocks are read: one ahead of a GPU, on a processor as they are asked for."""
    if not has_gpu():
        return in_turn
    from cladescope.dictionaries.training.feeding import ahead

    return partial(ahead, device=torch_device())


def _finish(run: Run, source: Source) -> Fit:
    """Return the dictionary of a run that is over, with what inference needs."""
    start, recipe = run.learner.start, run.recipe
    # Training has checked these rows: to read them again is no reason to check their shards again.
    first = batches(
        source.afresh(), recipe.batch_size, run.seed, min(CALIBRATION_BATCHES, run.steps)
    )
    sample = (start.normalise(batch) for batch in first)
    return Fit(replace(start, **run.learner.finished(sample)), run.log())
