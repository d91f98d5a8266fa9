"""From activations to saved dictionaries of any variant."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.activations.store import ActivationStore
from cladescope.dictionaries.training.batches import InMemory, Source, Streamed, batches
from cladescope.dictionaries.training.checkpoint import Checkpoint
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.loop import Run, train
from cladescope.dictionaries.training.schedule import n_steps
from cladescope.dictionaries.training.spec import Fit, FitSpec
from cladescope.dictionaries.variants import variant_module
from cladescope.files import write_aside
from cladescope.machines import has_gpu, machine, make_deterministic
from cladescope.sweep import TRAINED

CALIBRATION_BATCHES = 64
"""Batches of training data from which thresholds for inference are read."""


@dataclass(frozen=True)
class Target:
    """A dictionary that is to be made, and where it goes."""

    spec: FitSpec
    weights: Path
    """`sae.safetensors`; its JSON, its log and, for a while, its checkpoint go beside it."""
    key: str
    """Stands for all that the result depends on; another run's checkpoint is ignored."""

    @property
    def checkpoint(self) -> Checkpoint:
        """Where an interrupted run leaves its state."""
        return Checkpoint(self.weights.with_name(".checkpoint.safetensors"), self.key)

    def save(self, variant: str, fit: Fit, threads: int) -> None:
        """Write the dictionary, then its training log as parquet, which has no rows untrained."""
        made_on = machine(threads, variant in TRAINED and has_gpu())
        identity = {"variant": variant, **asdict(self.spec), "machine": made_on}
        fit.dictionary.save(self.weights, identity)
        with write_aside(self.weights.with_name("training.parquet")) as aside:
            pq.write_table(pa.table(fit.log), aside)
        self.checkpoint.path.unlink(missing_ok=True)


def train_dictionaries(
    variant: str,
    source: Source,
    targets: Sequence[Target],
    threads: int = 1,
    saved: Callable[[Target], None] = lambda target: None,
) -> None:
    """Make dictionaries of a variant from one reading of a source; call `saved` for each at once.

    Each gets the bytes that it gets alone. An interrupted run leaves its state beside its weights,
    and the next run with the same key continues from it.

    Raises
    ------
    FloatingPointError
        If a loss is not finite; the others are trained to their end first.
    """

    def save(number: int, fit: Fit) -> None:
        targets[number].save(variant, fit, threads)
        saved(targets[number])

    fit_dictionaries(
        variant,
        source,
        [target.spec for target in targets],
        save,
        threads,
        [target.checkpoint for target in targets],
    )


def fit_dictionary(variant: str, source: Source, spec: FitSpec, threads: int = 1) -> Fit:
    """Return one dictionary of a variant, fitted to a source of activations."""
    fits: list[Fit] = []
    fit_dictionaries(variant, source, [spec], lambda number, fit: fits.append(fit), threads)
    return fits[0]


def fit_dictionaries(
    variant: str,
    source: Source,
    specs: Sequence[FitSpec],
    done: Callable[[int, Fit], None],
    threads: int = 1,
    checkpoints: Sequence[Checkpoint] = (),
) -> None:
    """Fit dictionaries of a variant with one reading of the source; report each by its number.

    The seed of a spec fixes its initialisation and the order of the rows.

    Parameters
    ----------
    checkpoints
        One for each, or none at all.
    """
    module = variant_module(variant)
    stream = source.blocks()
    rows = next(stream)
    beginning = Beginning.of(rows)
    if variant not in TRAINED:
        for number, spec in enumerate(specs):
            done(number, Fit(module.fit(beginning, spec), {}))
        return
    make_deterministic()
    runs = []
    for spec, checkpoint in zip_longest(specs, checkpoints):
        assert spec.recipe
        learner = module.begin(beginning, spec, n_steps(spec.recipe, source), threads)
        runs.append(Run(learner, source, spec, checkpoint))
    from_first = chain([rows], stream)
    # A block may take a good part of the memory.
    del rows, beginning
    train(
        runs,
        lambda block: source.blocks(block) if block else from_first,
        lambda run: done(runs.index(run), _finish(run, source)),
    )


def _finish(run: Run, source: Source) -> Fit:
    """Return the dictionary of a run that is over, with what inference needs."""
    start, recipe = run.learner.start, run.recipe
    first = batches(source, recipe.batch_size, run.seed, min(CALIBRATION_BATCHES, run.steps))
    sample = (start.normalise(rows) for rows in first)
    return Fit(replace(start, **run.learner.finished(sample)), run.log())


def open_source(manifest: str | Path, threads: int = 1) -> Source:
    """Return a store as a source of training rows.

    One token per image is read into memory and verified; several are streamed, read ahead by
    `threads`.
    """
    store = ActivationStore.open(manifest)
    return InMemory(store.read()) if store.shape[1] == 1 else Streamed(store, threads)
