"""The configuration and what it asks for."""

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

WORKFLOW = ROOT / "workflow"
LIBRARY = WORKFLOW / "lib"
sys.path.insert(0, str(LIBRARY))
# Scripts run in processes of their own, which inherit the environment.
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(LIBRARY), os.getenv("PYTHONPATH")])))

from cladescope import layout
from cladescope.config import ConfigError, check_keys, complete_config
from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.hub import located
from cladescope.kept import FOLDER as KEPT
from cladescope.layout import PAIRS, SPLITS
from cladescope.names import SETTINGS
from cladescope.operations.models import check_imported, check_models, check_pairs
from cladescope.operations.snakemake_internals import (
    check_storage,
    has_module_prefix,
    is_forced,
    part_of,
    resources_of,
    threads_of,
)
from cladescope.operations.slurm_jobs import killed_for_memory
from cladescope.operations.slurm_partitions import check_partitions, requests_of
from cladescope.operations.snakemake_records import (
    check_clock,
    check_interpreter,
    check_records,
    check_writable,
)
from cladescope.planted.recipes import RECIPES
from cladescope.provenance.fingerprint import LIBRARY as PACKAGE
from cladescope.provenance.fingerprint import fingerprint
from cladescope.sections import (
    ablated_dictionaries,
    mapped_dictionaries,
    positioned_dictionaries,
    segmented_dictionaries,
    shown_dictionary,
    used_dictionaries,
)
from cladescope.sweep import (
    SUPERVISED,
    TRAINED,
    alone_experiments,
    expand_packs,
    expand_passes,
    expand_sweep,
    has_pairs,
    has_several_backbones,
    variant_options,
    weights_kind,
)

try:
    for configfile in workflow.configfiles:
        check_keys(configfile)
    config = complete_config(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from error

if has_module_prefix(workflow):
    # Parameters name paths, too, and would keep the old ones.
    raise WorkflowError("a module's `prefix` is not followed; set `results` in its configuration")

RESULTS = config["results"]
EXPERIMENTS = config["experiments"]
DATASETS = config["datasets"]
SWEEP = {dictionary.folder: dictionary for dictionary in expand_sweep(config)}
SHOWN = shown_dictionary(config)
MAPPED = mapped_dictionaries(config)
ABLATED = ablated_dictionaries(config)
USED = used_dictionaries(config)
SEGMENTED = segmented_dictionaries(config)
POSITIONED = positioned_dictionaries(config)
ALONE = alone_experiments(config)


def jobs_among(entries):
    """Jobs for these dictionaries, of several each; `None` is the rule for one, whichever is asked for."""
    alone = any(entry.experiment in ALONE for entry in entries)
    return [*([None] if alone else []), *expand_packs(config, by_variant=False, among=entries)]


TRAINING_PACKS = [*([None] if ALONE else []), *expand_packs(config, by_variant=True)]
PACKS = jobs_among(SWEEP.values())
# Of those, the ones whose latents are tested on pairs of images.
PAIRED = [name for name in EXPERIMENTS if has_pairs(config, name)]
PAIRED_DATASETS = list(dict.fromkeys(EXPERIMENTS[name]["dataset"] for name in PAIRED))
PAIRED_ALONE = [name for name in PAIRED if name in ALONE]
PAIRED_PACKS = [pack for pack in PACKS if (pack.experiment in PAIRED if pack else PAIRED_ALONE)]
COMPARED = has_several_backbones(config)
EARLY = 1
"""Priority of short jobs that fail if the data are not as they should be: before any extraction."""
SCORE_TABLES = ("latents", "nodes", "sizes", "relations", "edges", "sensitivity")
PAIR_TABLES = ("pairs", "pair_nodes")
ENVIRONMENT = ROOT / "envs" / "cladescope.yaml"
# Inputs are recorded by name: relative, so that a checkout that is moved with its results keeps them.
CHECKOUT = Path(os.path.relpath(ROOT))
DRAWN = CHECKOUT / "resources" / "planted" / "nodes.csv"
"""Nodes whose classes share a drawn part, in the planted world."""

# The shipped backbone has the same name in every folder in which Snakemake runs.
for experiment in EXPERIMENTS.values():
    shipped = CHECKOUT / experiment["backbone"]["weights"]
    if shipped.is_relative_to(CHECKOUT / "resources") and shipped.is_file():
        experiment["backbone"]["weights"] = os.path.relpath(shipped)


def one_of(names):
    """A wildcard's constraint: one of these names, or nothing at all if there are none."""
    return "|".join(sorted({*names})) or "(?!)"


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/{layout.LOGS}",
    benchmarks=f"{RESULTS}/{layout.BENCHMARKS}",
    # Of a job for one dictionary.
    point="{experiment}_{token}_L{layer}_{variant}_{name}",


wildcard_constraints:
    dataset="|".join(DATASETS),
    experiment="|".join(EXPERIMENTS),
    split="|".join((*SPLITS, PAIRS)),
    token="|".join(sorted({dictionary.token for dictionary in SWEEP.values()})),
    layer=r"\d+",
    variant="|".join(sorted({dictionary.variant for dictionary in SWEEP.values()})),
    name="|".join(sorted({dictionary.name for dictionary in SWEEP.values()})),
    seed=r"\d+",
    recipe="|".join(RECIPES),
    shards=r"\d+-\d+",
