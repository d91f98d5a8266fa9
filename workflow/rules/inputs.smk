"""Functions that give rules their names, inputs and parameters."""

from cladescope.config import index_spec


def code_of(script, *modules):
    """Fingerprint of a rule's script and of the library modules that it uses."""
    return fingerprint(
        WORKFLOW / "scripts" / f"{script}.py", *(PACKAGE / module for module in modules)
    )


def extraction_code():
    """Fingerprint of extraction, by one job or several: it is the same for both."""
    scripts = (WORKFLOW / "scripts" / f"{verb}_shards.py" for verb in ("extract", "join"))
    return code_of("extract_activations", *scripts)


def parts_of(job, shards):
    """The manifests of some shards of a pass, each marked as part of the whole one."""
    return [
        part_of(f"{RESULTS}/{job.manifest(place)}", f"<results>/{job.partial(place, shards)}")
        for place in job.places
    ]


def used_datasets():
    """The datasets that an experiment uses."""
    return list(dict.fromkeys(experiment["dataset"] for experiment in EXPERIMENTS.values()))


def has_planted():
    """Whether an experiment uses a planted world."""
    return any(DATASETS[dataset]["source"] == "planted" for dataset in used_datasets())


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


def swept_layers(seeded=False):
    """Experiment, token and layer of every dictionary, or of every one that has a seed."""
    return list(
        dict.fromkeys(
            (entry.experiment, entry.token, entry.layer)
            for entry in SWEEP.values()
            if entry.seed is not None or not seeded
        )
    )


def of_sweep(name, experiment=None):
    """The file called `name` of every dictionary, or of every one of an experiment."""
    return [
        f"{RESULTS}/{folder}/{name}"
        for folder, entry in SWEEP.items()
        if experiment in (None, entry.experiment)
    ]


def of_paired(name):
    """The file called `name` of every dictionary whose latents are tested on pairs of images."""
    return [path for experiment in PAIRED for path in of_sweep(name, experiment)]


def manifests_of(experiment):
    """The manifests of the activations that an experiment's dictionaries use, of both splits."""
    return [
        f"{RESULTS}/"
        + layout.MANIFEST.format(experiment=name, split=split, token=token, layer=layer)
        for name, token, layer in swept_layers()
        for split in SPLITS
        if name == experiment
    ]


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


def groups_of(split, pack=None):
    """An input: the groups of the images of a job's dataset; nothing where they are not told."""

    def paths(wildcards):
        name = EXPERIMENTS[pack.experiment if pack else wildcards.experiment]["dataset"]
        told = "group" in DATASETS[name] and split in DATASETS[name]["label_files"]
        return [f"{RESULTS}/{layout.GROUPS.format(dataset=name, split=split)}"] if told else []

    return paths


def final_output():
    """All that a run makes in the end, but the table of what it cost."""
    return [
        *TABLES,
        *FIGURES,
        *RELEVANCY,
        *ABLATION,
        *USES,
        *SEGMENTATION,
        *POSITIONS,
        *ATLAS,
    ]


def identity_of(dictionary):
    """The columns that say which dictionary a table's row is about."""
    experiment = EXPERIMENTS[dictionary.experiment]
    imported = experiment["sweep"].get("imported", {}) if dictionary.imported else {}
    library = imported.get(dictionary.variant, {}).get("format")
    return {
        "dictionary": dictionary.folder,
        "experiment": dictionary.experiment,
        "dataset": experiment["dataset"],
        "model": experiment["backbone"]["model"],
        "weights": weights_kind(experiment["backbone"]),
        "token": dictionary.token,
        "layer": dictionary.layer,
        "variant": dictionary.variant,
        # A column of studies that import any.
        **({"library": library} if any(entry.imported for entry in SWEEP.values()) else {}),
        "width": dictionary.width,
        "sparsity": dictionary.sparsity,
        "seed": dictionary.seed,
    }


def index_spec_of(wildcards):
    """What the index of a dataset's split is made from."""
    rendered = f"{RESULTS}/{layout.RENDERED.format(**wildcards)}"
    return index_spec(DATASETS[wildcards.dataset], wildcards.split, rendered)


def pair_table(wildcards):
    """The table of pairs of a dataset: one's own, or that of the planted world."""
    rendered = f"{RESULTS}/{layout.RENDERED_PAIRS.format(**wildcards)}.csv"
    return DATASETS[wildcards.dataset].get("pairs", rendered)


def named_nodes(dataset):
    """The option `relevancy.nodes`, where it is about a dataset and set."""
    mapped = {EXPERIMENTS[dictionary.experiment]["dataset"] for dictionary in MAPPED}
    nodes = config["relevancy"].get("nodes") if dataset in mapped else None
    return {"nodes": nodes} if nodes else {}


def index_inputs(wildcards):
    """The files and folders that an index is made from, as far as they are the user's to name."""
    spec = index_spec_of(wildcards)
    named = (
        spec["source"].get("folder"),
        spec["listing"].get("label_file"),
        spec.get("wnids"),
    )
    return [path for path in named if path not in (None, "imagenet-1k")]


def seed_groups(wildcards):
    """Folders of a layer's dictionaries, those that differ in the seed only together."""
    groups = {}
    for folder, entry in SWEEP.items():
        layer = (entry.experiment, entry.token, str(entry.layer))
        if entry.seed is not None and layer == (
            wildcards.experiment,
            wildcards.token,
            wildcards.layer,
        ):
            groups.setdefault((entry.variant, entry.width, entry.sparsity), []).append(folder)
    return list(groups.values())


def of_groups(name, wildcards):
    """The file called `name` of each dictionary of a layer that has a seed."""
    return [f"{RESULTS}/{folder}/{name}" for group in seed_groups(wildcards) for folder in group]


def of_layers(pattern, seeded=False):
    """The file of every layer that dictionaries are of, or seeded ones."""
    return [
        f"<results>/{pattern.format(experiment=experiment, token=token, layer=layer)}"
        for experiment, token, layer in swept_layers(seeded)
    ]


def skipped_images():
    """The table of skipped images of every dataset and split that an experiment uses."""
    return {
        (
            dataset,
            split,
        ): f"{RESULTS}/{layout.IMAGES.format(dataset=dataset, split=split)}_skipped.csv"
        for dataset in used_datasets()
        for split in SPLITS
    }


def stages():
    """Fingerprint of the code of every stage that numbers come from, by the stage's name."""
    variants = {entry.variant for entry in SWEEP.values() if not entry.imported}
    drawings = ("plot_", "chart_", "draw_", "build_atlas", "record_provenance")
    scripts = (script.stem for script in sorted((WORKFLOW / "scripts").glob("*.py")))
    return {
        **{script: code_of(script) for script in scripts if not script.startswith(drawings)},
        **{
            f"train_sae {variant}": code_of("train_sae", f"dictionaries/variants/{variant}.py")
            for variant in sorted(variants)
        },
    }


def mapping_inputs(wildcards):
    """The checkpoint, if it is a file, and what tells where objects are, if anything does."""
    experiment = EXPERIMENTS[wildcards.experiment]
    inputs = checkpoint_of(None)(wildcards)
    if DATASETS[experiment["dataset"]]["source"] == "planted":
        inputs["factors"] = dataset_file("rendered/eval.parquet")(wildcards)
    elif "masks" in DATASETS[experiment["dataset"]]:
        files = {
            "masks": layout.MASKS,
            "mask_taxonomy": layout.MASK_TAXONOMY,
            "taxonomy": layout.TAXONOMY,
        }
        for name, path in files.items():
            inputs[name] = f"{RESULTS}/{path.format(dataset=experiment['dataset'], split='eval')}"
    return inputs


def checkpoint_of(pack):
    """An input: the checkpoint of a job's backbone, if it is a file."""

    def inputs(wildcards):
        backbone = EXPERIMENTS[(pack or wildcards).experiment]["backbone"]
        return {"backbone": backbone["weights"]} if weights_kind(backbone) == "file" else {}

    return inputs


def deepest_manifests(pack):
    """An input: manifests of both splits of the deepest layer of a job's experiment and token."""

    def paths(wildcards):
        first = members_of(pack, wildcards)[0]
        deepest = max(
            entry.layer
            for entry in SWEEP.values()
            if (entry.experiment, entry.token) == (first.experiment, first.token)
        )
        place = {"experiment": first.experiment, "token": first.token, "layer": deepest}
        return [f"{RESULTS}/{layout.MANIFEST.format(split=split, **place)}" for split in SPLITS]

    return paths


def ablation_spec(pack):
    """A parameter: what ablation depends on besides the dictionary."""

    def spec(wildcards):
        first = members_of(pack, wildcards)[0]
        options = {key: config["ablation"][key] for key in ABLATING}
        return {
            "backbone": EXPERIMENTS[first.experiment]["backbone"],
            "place": [first.layer, first.token],
            "ablation": {**options, "latents": sorted(options["latents"])},
            "halves": {key: config["scores"][key] for key in ("top_n", "split_selection", "seed")},
        }

    return spec


def uses_spec():
    """A parameter: what the uses of codes depend on besides the codes."""
    options = ("queries", "shots", "draws", "latents", "null_draws", "seed")
    spec = {key: config["uses"][key] for key in options}
    return {**spec, **{key: sorted(spec[key]) for key in ("shots", "latents")}}


def masks_of(pack):
    """An input: what tells what patches show, and the taxonomy of that."""

    def inputs(wildcards):
        dataset = EXPERIMENTS[(pack or wildcards).experiment]["dataset"]
        if DATASETS[dataset]["source"] == "planted":
            files = {"factors": f"{layout.RENDERED}.parquet", "taxonomy": layout.TAXONOMY}
        else:
            files = {"masks": layout.MASKS, "taxonomy": layout.MASK_TAXONOMY}
        return {
            name: f"{RESULTS}/{path.format(dataset=dataset, split='eval')}"
            for name, path in files.items()
        }

    return inputs


def of_patches(pack, options):
    """A parameter: what tells which patches a layer's store has, and options of what reads them."""

    def spec(wildcards):
        first = members_of(pack, wildcards)[0]
        experiment = EXPERIMENTS[first.experiment]
        sampled = {"patches": experiment["extraction"].get("patches")}
        return {
            "backbone": experiment["backbone"],
            "layer": first.layer,
            **options,
            **{key: value for key, value in sampled.items() if value},
        }

    return spec


def segmentation_spec(pack):
    """A parameter: what finding patches depends on besides the dictionary."""
    keys = ("images", "null_draws", "seed")
    return of_patches(pack, {"segmentation": {key: config["segmentation"][key] for key in keys}})


def positions_spec(pack):
    """A parameter: what codes with places depend on besides the dictionary."""
    options = config["codes"]["positions"]
    return of_patches(pack, {"positions": {key: options[key] for key in ("images", "seed")}})


def imported_source(wildcards):
    """What the configuration says of another library's dictionary."""
    return EXPERIMENTS[wildcards.experiment]["sweep"]["imported"][wildcards.variant]


def imported_entry(wildcards):
    """Another library's dictionary, and where it is; of the hub, in the local cache."""
    try:
        return located(Source.from_config(imported_source(wildcards)))
    except (OSError, ValueError) as error:
        raise WorkflowError(str(error)) from error


def imported_files(wildcards):
    """An input: the files of another library's dictionary, weights last."""
    source = imported_entry(wildcards)
    return [source.folder / name for name in source.names]


def imported_spec(wildcards):
    """A parameter: what the configuration says of another library's dictionary, but its place."""
    source = imported_entry(wildcards)
    told = {key: getattr(source, key) for key in ("settings", "layer", "token", "hub")}
    return {"form": source.form, **told}


def importing_code(wildcards):
    """A parameter: the fingerprint of the code that reads another library's dictionary."""
    form = imported_source(wildcards)["format"]
    return code_of("import_dictionary", f"dictionaries/exchange/{form}.py")


def shown_dataset():
    """The dataset of the dictionary whose latents are shown as images."""
    return EXPERIMENTS[SHOWN.experiment]["dataset"]


def figure(name, about):
    """One figure in every format; the first one goes into the report."""
    first, *others = (f"<results>/{layout.FIGURES}/{name}.{suffix}" for suffix in FORMATS)
    shown = report(
        first,
        caption=f"../report/{name}.rst",
        category="Figures",
        subcategory=about,
        labels={"figure": name.replace("_", " ")},
    )
    return [shown, *others]


def maps_of(pack):
    """An input: maps and positions of a job's latents, if any, and what tells where they lie."""

    def inputs(wildcards):
        members = members_of(pack, wildcards)
        wanted = {"maps": (MAPPED, "relevancy"), "positions": (POSITIONED, "positions")}
        found = {
            name: [f"{RESULTS}/{e.folder}/{file}.parquet" for e in members if e in among]
            for name, (among, file) in wanted.items()
        }
        found = {name: files for name, files in found.items() if files}
        split = layout.MANIFEST.format(split="eval", **vars(members[0]))
        return {**found, "manifest": f"{RESULTS}/{split}"} if found else {}

    return inputs


def segmentations_of(pack):
    """An input: how well a job's latents find patches, where they are held against masks."""

    def inputs(wildcards):
        members = [entry for entry in members_of(pack, wildcards) if entry in SEGMENTED]
        files = [f"{RESULTS}/{entry.folder}/segmentation.parquet" for entry in members]
        return {"segmentations": files} if files else {}

    return inputs


def causes_of(pack):
    """An input: what ablating a job's latents does, and what they do on pairs, where it is known."""

    def inputs(wildcards):
        members = members_of(pack, wildcards)
        found = {}
        if ablated := [entry for entry in members if entry in ABLATED]:
            found["ablations"] = [f"{RESULTS}/{e.folder}/ablation.parquet" for e in ablated]
        if members[0].experiment in PAIRED:
            manifest = layout.MANIFEST.format(split=PAIRS, **vars(members[0]))
            found["pairs_manifest"] = f"{RESULTS}/{manifest}"
            found["pairs"] = dataset_file("pairs.parquet", pack)(wildcards)
            found["pair_nodes"] = [f"{RESULTS}/{e.folder}/pair_nodes.parquet" for e in members]
        return found

    return inputs


def index_shown(images):
    """The index of images that the atlas shows: a dataset's evaluation images, or those of its pairs."""
    dataset, _, split = images.partition(".")
    return f"{RESULTS}/{layout.INDEX.format(dataset=dataset, split=split or 'eval')}"


def shared_by_atlas():
    """What the atlas says of each dataset, named by kind and dataset."""
    inputs = {}
    for dataset in used_datasets():
        folder = f"<results>/{layout.DATASET.format(dataset=dataset)}"
        inputs[f"taxonomy_{dataset}"] = f"{folder}/taxonomy.parquet"
        inputs[f"index_{dataset}"] = f"{folder}/images/eval.parquet"
        if DATASETS[dataset]["source"] == "planted":
            inputs[f"drawn_{dataset}"] = DRAWN
    return inputs
