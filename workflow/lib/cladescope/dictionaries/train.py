"""From activations to a saved dictionary of any variant."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cladescope.activations.store import ActivationStore
from cladescope.dictionaries.training.base import FitSpec, Job, Recipe
from cladescope.dictionaries.training.batches import InMemory, Source, Streamed
from cladescope.dictionaries.training.packs import train_pack
from cladescope.dictionaries.variants import fit_dictionary
from cladescope.files import write_aside
from cladescope.machines import machine
from cladescope.sweep import DictionarySpec

LOG = "training.parquet"


def train_dictionaries(
    entries: Mapping[Path, DictionarySpec],
    source: Source,
    recipe: Recipe | None,
    made_from: list[str],
    threads: int = 1,
) -> None:
    """Train dictionaries, from one reading of the source if they are several.

    Parameters
    ----------
    entries
        The dictionary that goes to each path (safetensors); its log goes beside it.
    made_from
        What else the results depend on, as in `train_dictionary`.
    """

    def fit_of(weights: Path, entry: DictionarySpec) -> Callable[[Source], None]:
        return lambda view: train_dictionary(
            entry.variant,
            view,
            FitSpec(entry.width, entry.sparsity, entry.seed, recipe),
            weights,
            weights.with_name(LOG),
            made_from,
            threads,
        )

    fits = [fit_of(*item) for item in entries.items()]
    if len(fits) == 1:
        fits[0](source)
    else:
        train_pack(source, fits)


def train_dictionary(
    variant: str,
    source: Source,
    spec: FitSpec,
    weights: str | Path,
    log: str | Path,
    made_from: list[str],
    threads: int = 1,
) -> None:
    """Fit `variant` to a source and write the dictionary, then its training log as parquet.

    The log of a variant that is not trained has no rows. An interrupted run leaves its state beside
    `weights`, and a run of the same variant, `spec` and `made_from` (what else the result depends
    on: data, code) continues from it.
    """
    identity = {"variant": variant, **asdict(spec)}
    key = hashlib.sha256(json.dumps([identity, made_from], sort_keys=True).encode()).hexdigest()
    checkpoint = Path(weights).with_name(".checkpoint.safetensors")
    fit = fit_dictionary(variant, source, spec, Job(threads, checkpoint, key))
    fit.dictionary.save(weights, {**identity, "machine": machine(threads)})
    with write_aside(log) as aside:
        pq.write_table(pa.table(fit.log), aside)
    checkpoint.unlink(missing_ok=True)


def open_source(manifest: str | Path, threads: int = 1) -> Source:
    """Return a store as a source of training rows.

    One token per image is read into memory and verified; several are streamed, read ahead by
    `threads`.
    """
    store = ActivationStore.open(manifest)
    return InMemory(store.read()) if store.shape[1] == 1 else Streamed(store, threads)
