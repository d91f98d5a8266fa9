"""Configuration, the expanded sweep and small helpers that the rules share."""

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Of this file, not of the main Snakefile, which is another where this workflow is used as a module.
WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
LIBRARY = WORKFLOW / "lib"
sys.path.insert(0, str(LIBRARY))
# Scripts run in processes of their own, which inherit the environment.
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(LIBRARY), os.getenv("PYTHONPATH")])))

from cladescope.atlas import page_folder
from cladescope.config import (
    SPLITS,
    TRAINED,
    ConfigError,
    complete_config,
    expand_packs,
    expand_passes,
    expand_sweep,
    index_spec,
    weights_kind,
)
from cladescope.provenance.fingerprint import LIBRARY as PACKAGE
from cladescope.provenance.fingerprint import fingerprint
from cladescope.provenance.record import plan_record
from cladescope.operations.snakemake_records import check_clock, check_records
from cladescope.selection import mapped_dictionaries, shown_dictionary

try:
    config = complete_config(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from error

modified = workflow.modifier.path_modifier
if modified.prefix or modified.modifies_prefixes:
    # Parameters name paths, too, and would keep the old ones.
    raise WorkflowError("a module's `prefix` is not followed; set `results` in its configuration")

RESULTS = config["results"]
EXPERIMENTS = config["experiments"]
DATASETS = config["datasets"]
SWEEP = {dictionary.folder: dictionary for dictionary in expand_sweep(config)}
SHOWN = shown_dictionary(config)
MAPPED = mapped_dictionaries(config)
FORMATS = config["figures"]["formats"]
ENVIRONMENT = WORKFLOW.parent / "envs" / "cladescope.yaml"
# Inputs are recorded by name: relative, so that a checkout that is moved with its results keeps them.
CHECKOUT = Path(os.path.relpath(WORKFLOW.parent))
NLTK_DATA = CHECKOUT / "resources" / "nltk_data"


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


def training_spec(variant):
    """What training depends on besides the data and the dictionary's place in the sweep."""
    return {"recipe": config["training"] if variant in TRAINED else None}


def stages():
    """Fingerprint of the code of every stage that numbers come from, by the stage's name."""
    variants = {entry.variant for entry in SWEEP.values()}
    drawings = ("plot_", "chart_", "draw_", "build_atlas", "record_provenance")
    scripts = (script.stem for script in sorted((WORKFLOW / "scripts").glob("*.py")))
    return {
        **{script: code_of(script) for script in scripts if not script.startswith(drawings)},
        **{
            f"train_sae {variant}": code_of("train_sae", f"dictionaries/variants/{variant}.py")
            for variant in sorted(variants)
        },
    }


def resources_of(name):
    """What a profile's `set-resources` says of `name`, for rules whose generated names begin so."""

    def evaluated(resource):
        def value(wildcards, input, attempt, threads):
            result = resource.evaluate(
                wildcards,
                input=input,
                attempt=attempt,
                threads=threads,
                rulename=name,
                async_run=workflow.async_run,
            )
            return result.value

        return value

    chosen = workflow.resource_settings.overwrite_resources.get(name, {})
    return {key: evaluated(resource) for key, resource in chosen.items()}


def dictionary_of(wildcards):
    """The sweep's entry that a rule's wildcards stand for."""
    folder = "/".join(
        [
            wildcards.experiment,
            "dictionaries",
            wildcards.token,
            f"L{wildcards.layer}",
            wildcards.variant,
            wildcards.name,
        ]
    )
    if folder not in SWEEP:
        raise WorkflowError(f"{folder} is not in the sweep of this configuration")
    return SWEEP[folder]


def index_spec_of(wildcards):
    """What the index of a dataset's split is made from."""
    rendered = f"{RESULTS}/datasets/{wildcards.dataset}/rendered/{wildcards.split}"
    return index_spec(DATASETS[wildcards.dataset], wildcards.split, rendered)


def index_inputs(wildcards):
    """The files and folders that an index is made from, as far as they are the user's to name."""
    spec = index_spec_of(wildcards)
    named = (
        spec["source"].get("folder"),
        spec["listing"].get("label_file"),
        spec.get("wnids", "imagenet-1k"),
    )
    return [path for path in named if path not in (None, "imagenet-1k")]


def dataset_file(wildcards, name):
    """A file of the dataset that an experiment uses."""
    return f"{RESULTS}/datasets/{EXPERIMENTS[wildcards.experiment]['dataset']}/{name}"


def used_datasets():
    """The datasets that an experiment uses."""
    return list(dict.fromkeys(experiment["dataset"] for experiment in EXPERIMENTS.values()))


def skipped_images():
    """The table of skipped images of every dataset and split that an experiment uses."""
    return {
        (dataset, split): f"{RESULTS}/datasets/{dataset}/images/{split}_skipped.csv"
        for dataset in used_datasets()
        for split in SPLITS
    }


def figure_files(name):
    """Paths of one figure, one for each format."""
    return [f"{RESULTS}/figures/{name}.{suffix}" for suffix in FORMATS]


def figure(name):
    """One figure in every format; the first one goes into the report."""
    first, *others = figure_files(name)
    shown = report(first, caption=f"../report/{name}.rst", category="Figures")
    return [shown, *others]


def of_sweep(name):
    """The file called `name` of every dictionary."""
    return [f"{RESULTS}/{folder}/{name}" for folder in SWEEP]


def of_experiment(experiment, name):
    """The file called `name` of every dictionary of one experiment."""
    return [f"{RESULTS}/{e.folder}/{name}" for e in SWEEP.values() if e.experiment == experiment]


def manifests_of(experiment):
    """The manifests of the activations that an experiment's dictionaries use, of both splits."""
    return [
        f"{RESULTS}/{name}/activations/{split}/{token}/L{layer}.json"
        for name, token, layer in swept_places()
        for split in SPLITS
        if name == experiment
    ]


def swept_places(seeded=False):
    """Experiment, token and layer of every dictionary, or of every one that has a seed."""
    return list(
        dict.fromkeys(
            (entry.experiment, entry.token, entry.layer)
            for entry in SWEEP.values()
            if entry.seed is not None or not seeded
        )
    )


def seed_groups(wildcards):
    """Folders of a place's dictionaries, those that differ in the seed only together."""
    groups = {}
    for folder, entry in SWEEP.items():
        place = (entry.experiment, entry.token, str(entry.layer))
        if entry.seed is not None and place == (
            wildcards.experiment,
            wildcards.token,
            wildcards.layer,
        ):
            kind = (entry.variant, entry.width, entry.sparsity)
            groups.setdefault(kind, []).append(folder)
    return list(groups.values())


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


def mapping_inputs(wildcards):
    """The checkpoint, if it is a file, and the table with the objects' masks, if there is one."""
    experiment = EXPERIMENTS[wildcards.experiment]
    inputs = {}
    if weights_kind(experiment["backbone"]) == "file":
        inputs["backbone"] = experiment["backbone"]["weights"]
    if DATASETS[experiment["dataset"]]["source"] == "planted":
        inputs["factors"] = dataset_file(wildcards, "rendered/eval.parquet")
    return inputs


def maps_of(wildcards):
    """The maps of a dictionary's latents, if there are any, and what tells where they lie."""
    if dictionary_of(wildcards) not in MAPPED:
        return {}
    place = f"{wildcards.token}/L{wildcards.layer}"
    return {
        "maps": f"{RESULTS}/{dictionary_of(wildcards).folder}/relevancy.parquet",
        "manifest": f"{RESULTS}/{wildcards.experiment}/activations/eval/{place}.json",
    }


def shared_by_atlas():
    """What the atlas says of each dataset, named by kind and dataset."""
    inputs = {}
    for dataset in used_datasets():
        folder = f"{RESULTS}/datasets/{dataset}"
        inputs[f"taxonomy_{dataset}"] = f"{folder}/taxonomy.parquet"
        inputs[f"index_{dataset}"] = f"{folder}/images/eval.parquet"
        if DATASETS[dataset]["source"] == "planted":
            inputs[f"drawn_{dataset}"] = CHECKOUT / "resources" / "planted" / "nodes.csv"
    return inputs


# `--touch --forceall` records everything anew. A job's own process sees but a part.
if workflow.is_main_process and not {"--forceall", "-F"} & {*sys.argv}:
    manifests = [path for name in EXPERIMENTS for path in manifests_of(name)]
    indices = [f"{RESULTS}/{job.index}" for job in expand_passes(config)]
    try:
        check_records(RESULTS, [*manifests, *of_sweep("scores.json")])
        check_clock([*dict.fromkeys(indices), *manifests])
    except ValueError as error:
        raise WorkflowError(str(error)) from error
