"""From activations to saved dictionaries of any variant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.activations.store import ActivationStore
from cladescope.dictionaries.training.batches import InMemory, Source, Streamed
from cladescope.dictionaries.training.checkpoint import Checkpoint
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.spec import Fit, FitSpec
from cladescope.dictionaries.variants import variant_module
from cladescope.files import write_aside
from cladescope.machines import has_gpu, machine, own_gpu
from cladescope.sweep import SUPERVISED, TRAINED


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
        spec = asdict(self.spec)
        if not self.spec.options:
            del spec["options"]
        if spec["recipe"] and spec["recipe"]["gpu_selection"] is None:
            del spec["recipe"]["gpu_selection"]
        identity = {"variant": variant, **spec, "machine": made_on}
        fit.dictionary.save(self.weights, identity)
        save_log(fit.log, self.weights)


def save_log(log: Mapping[str, Any], weights: str | Path) -> None:
    """Write a training log beside the weights; it has no rows where nothing was trained."""
    with write_aside(Path(weights).with_name("training.parquet")) as aside:
        pq.write_table(pa.table(log), aside)


def train_dictionaries(
    variant: str,
    source: Source,
    targets: Sequence[Target],
    threads: int = 1,
    saved: Callable[[Target], None] = lambda target: None,
    told: Mapping[str, Path] | None = None,
) -> None:
    """Make dictionaries of a variant from one reading of a source; call `saved` for each at once.

    Each gets the bytes that it gets alone. An interrupted run leaves its state beside its weights,
    and the next run with the same key continues from it.

    Parameters
    ----------
    told
        The files that a supervised baseline reads, by the names that `SUPERVISED` has for them.

    Raises
    ------
    FloatingPointError
        If a loss is not finite; the others are trained to their end first.
    """

    def save(number: int, fit: Fit) -> None:
        target = targets[number]
        target.save(variant, fit, threads)
        saved(target)
        target.checkpoint.path.unlink(missing_ok=True)

    specs = [target.spec for target in targets]
    with own_gpu() if variant in (*TRAINED, "kmeans") else nullcontext():
        if variant in TRAINED:
            checkpoints = [target.checkpoint for target in targets]
            variant_module(variant).train(source, specs, save, threads, checkpoints)
        else:
            for number, fit in enumerate(_untrained(variant, source, specs, told)):
                save(number, fit)


def fit_dictionary(
    variant: str,
    source: Source,
    spec: FitSpec,
    threads: int = 1,
    told: Mapping[str, Path] | None = None,
) -> Fit:
    """Return one dictionary of a variant, as `train_dictionaries` makes it."""
    if variant in TRAINED:
        return fit_together(variant, source, [spec], threads)[0]
    return next(_untrained(variant, source, [spec], told))


def fit_together(
    variant: str, source: Source, specs: Sequence[FitSpec], threads: int = 1
) -> list[Fit]:
    """Return dictionaries of a trained variant, from one reading of the source.

    The seed of a spec fixes its initialisation and the order of the rows.
    """
    fits: dict[int, Fit] = {}
    variant_module(variant).train(source, specs, fits.__setitem__, threads, ())
    return [fits[number] for number in range(len(specs))]


def _untrained(
    variant: str, source: Source, specs: Sequence[FitSpec], told: Mapping[str, Path] | None
) -> Iterator[Fit]:
    """Yield what is made without training: from a few rows, or the files of `SUPERVISED`."""
    module = variant_module(variant)
    beginning = Beginning.of(next(source.blocks()))
    source.check()
    learnt = [module.directions(source, **(told or {}))] if variant in SUPERVISED else []
    for spec in specs:
        yield Fit(module.fit(beginning, spec, *learnt), {})


def open_source(manifest: str | Path, threads: int = 1) -> Source:
    """Return a store as a source of training rows.

    One token per image is read into memory and verified; several are streamed, read ahead by
    `threads`.
    """
    store = ActivationStore.open(manifest)
    return InMemory(store.read()) if store.shape[1] == 1 else Streamed(store, threads)
