"""The configuration, what it asks for, and helpers that several rule files share."""

import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Of this file, not of the main Snakefile, which is another where this workflow is used as a module.
WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
LIBRARY = WORKFLOW / "lib"
sys.path.insert(0, str(LIBRARY))
# Scripts run in processes of their own, which inherit the environment.
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(LIBRARY), os.getenv("PYTHONPATH")])))

from cladescope import layout
from cladescope.config import ConfigError, complete_config
from cladescope.kept import FOLDER as KEPT
from cladescope.layout import SPLITS
from cladescope.operations.snakemake_internals import (
    has_module_prefix,
    is_forced,
    resources_of,
    threads_of,
)
from cladescope.operations.snakemake_records import check_clock, check_interpreter, check_records
from cladescope.provenance.fingerprint import LIBRARY as PACKAGE
from cladescope.provenance.fingerprint import fingerprint
from cladescope.sweep import (
    TRAINED,
    alone_experiments,
    expand_packs,
    expand_passes,
    expand_sweep,
    mapped_dictionaries,
    shown_dictionary,
    weights_kind,
)

try:
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
# Jobs of several dictionaries; `None` is the rule for one, whichever is asked for.
ALONE = alone_experiments(config)
TRAINING_PACKS = [*([None] if ALONE else []), *expand_packs(config, by_variant=True)]
PACKS = [*([None] if ALONE else []), *expand_packs(config, by_variant=False)]
SCORE_TABLES = ("latents", "nodes", "relations", "edges", "sensitivity")
ENVIRONMENT = WORKFLOW.parent / "envs" / "cladescope.yaml"
# Inputs are recorded by name: relative, so that a checkout that is moved with its results keeps them.
CHECKOUT = Path(os.path.relpath(WORKFLOW.parent))
DRAWN = CHECKOUT / "resources" / "planted" / "nodes.csv"
"""Nodes whose classes share a drawn part, in the planted world."""


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/{layout.LOGS}",
    benchmarks=f"{RESULTS}/{layout.BENCHMARKS}",
    # Of a job for one dictionary.
    point="{experiment}_{token}_L{layer}_{variant}_{name}",


wildcard_constraints:
    dataset="|".join(DATASETS),
    experiment="|".join(EXPERIMENTS),
    split="|".join(SPLITS),
    token="|".join(sorted({dictionary.token for dictionary in SWEEP.values()})),
    layer=r"\d+",
    variant="|".join(sorted({dictionary.variant for dictionary in SWEEP.values()})),
    name="|".join(sorted({dictionary.name for dictionary in SWEEP.values()})),
    seed=r"\d+",


def code_of(script, *modules):
    """Fingerprint of a rule's script and of the library modules that it uses."""
    return fingerprint(
        WORKFLOW / "scripts" / f"{script}.py", *(PACKAGE / module for module in modules)
    )


def dictionary_of(wildcards):
    """The sweep's entry that a rule's wildcards stand for."""
    folder = layout.DICTIONARY.format(**wildcards)
    if folder not in SWEEP:
        raise WorkflowError(f"{folder} is not in the sweep of this configuration")
    return SWEEP[folder]


def members_of(pack, wildcards):
    """The dictionaries of a job."""
    return pack.members if pack else [dictionary_of(wildcards)]


def name_of(rule, pack):
    """Name of a rule, for a pack one of its own."""
    return f"{rule}_{pack.stem}" if pack else rule


def stem_of(pack):
    """Name of a job's log and benchmark."""
    return pack.stem if pack else "<point>"


def files_of(pack, name, pattern=layout.DICTIONARY):
    """The file called `name` of each dictionary of a job; without a name the folder."""
    places = [{"name": entry.name, **vars(entry)} for entry in pack.members] if pack else [None]
    folders = [pattern.format(**place) if place else pattern for place in places]
    return [f"<results>/{folder}/{name}".rstrip("/") for folder in folders]


def manifest_of(pack, split):
    """The manifest of the activations that a job's dictionaries belong to."""
    pattern = layout.MANIFEST.replace("{split}", split)
    return f"<results>/{pattern.format(**vars(pack.members[0])) if pack else pattern}"


def dataset_file(name, pack=None):
    """An input: a file of the dataset that a job's experiment uses."""

    def path(wildcards):
        experiment = EXPERIMENTS[pack.experiment if pack else wildcards.experiment]
        return f"{RESULTS}/{layout.DATASET.format(dataset=experiment['dataset'])}/{name}"

    return path


def final_output():
    """All that a run makes in the end, but the table of what it cost."""
    return [*TABLES, *FIGURES, *RELEVANCY, *ATLAS]


def used_datasets():
    """The datasets that an experiment uses."""
    return list(dict.fromkeys(experiment["dataset"] for experiment in EXPERIMENTS.values()))


def swept_layers(seeded=False):
    """Experiment, token and layer of every dictionary, or of every one that has a seed."""
    return list(
        dict.fromkeys(
            (entry.experiment, entry.token, entry.layer)
            for entry in SWEEP.values()
            if entry.seed is not None or not seeded
        )
    )


def manifests_of(experiment):
    """The manifests of the activations that an experiment's dictionaries use, of both splits."""
    return [
        f"{RESULTS}/"
        + layout.MANIFEST.format(experiment=name, split=split, token=token, layer=layer)
        for name, token, layer in swept_layers()
        for split in SPLITS
        if name == experiment
    ]


def of_sweep(name, experiment=None):
    """The file called `name` of every dictionary, or of every one of an experiment."""
    return [
        f"{RESULTS}/{folder}/{name}"
        for folder, entry in SWEEP.items()
        if experiment in (None, entry.experiment)
    ]


def has_planted():
    """Whether an experiment uses a planted world."""
    return any(DATASETS[dataset]["source"] == "planted" for dataset in used_datasets())


def identity_of(dictionary):
    """The columns that say which dictionary a table's row is about."""
    experiment = EXPERIMENTS[dictionary.experiment]
    return {
        "dictionary": dictionary.folder,
        "experiment": dictionary.experiment,
        "dataset": experiment["dataset"],
        "model": experiment["backbone"]["model"],
        "weights": weights_kind(experiment["backbone"]),
        "token": dictionary.token,
        "layer": dictionary.layer,
        "variant": dictionary.variant,
        "width": dictionary.width,
        "sparsity": dictionary.sparsity,
        "seed": dictionary.seed,
    }


# `--touch --forceall` records everything anew. A job's own process sees but a part.
if workflow.is_main_process and not is_forced(sys.argv):
    manifests = [path for name in EXPERIMENTS for path in manifests_of(name)]
    indices = [f"{RESULTS}/{job.index}" for job in expand_passes(config)]
    try:
        check_interpreter()
        check_records(RESULTS, [*manifests, *of_sweep("scores.json")])
        check_clock([*dict.fromkeys(indices), *manifests])
    except ValueError as error:
        raise WorkflowError(str(error)) from error


onstart:
    if is_forced(sys.argv):
        # Nothing of an earlier run is taken: everything is computed again.
        shutil.rmtree(f"{RESULTS}/{KEPT}", ignore_errors=True)
