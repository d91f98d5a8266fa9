def training_spec(pack):
    """A parameter: what training depends on besides the data and the dictionary's own settings."""

    def spec(wildcards):
        one = pack or wildcards
        options = variant_options(config, one.experiment, one.variant)
        return {
            "recipe": config["training"] if one.variant in TRAINED else None,
            **({"options": options} if options else {}),
        }

    return spec


def training_code(pack):
    """A parameter: the fingerprint of the code that makes dictionaries of a job's variant."""

    def code(wildcards):
        variant = (pack or wildcards).variant
        return code_of("train_sae", f"dictionaries/variants/{variant}.py")

    return code


def wanted(pack):
    """A parameter that is derived from the outputs: the settings of each dictionary of a job."""

    def settings(wildcards, output):
        keys = ("variant", "width", "sparsity", "seed")
        return [{key: getattr(entry, key) for key in keys} for entry in members_of(pack, wildcards)]

    return settings


def told_of(pack):
    """An input: what tells a supervised baseline the classes of the training images."""
    files = {"index": "images/train.parquet", "taxonomy": "taxonomy.parquet"}

    def told(wildcards):
        variant = (pack or wildcards).variant
        return {
            key: dataset_file(files[key], pack)(wildcards) for key in SUPERVISED.get(variant, ())
        }

    return told


for pack in TRAINING_PACKS:

    rule:
        name:
            name_of("train_sae", pack)
        input:
            unpack(told_of(pack)),
            # The manifest stands for its shards: it holds their checksums, which training verifies.
            manifest=manifest_of(pack, "train"),
        output:
            weights=files_of(pack, "sae.safetensors"),
            about=files_of(pack, "sae.json"),
            log=files_of(pack, "training.parquet"),
        log:
            f"<logs>/train_sae/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/train_sae/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
            variant=one_of(entry.variant for entry in SWEEP.values() if not entry.imported),
        conda:
            ENVIRONMENT
        threads: threads_of(workflow, "train_sae") if pack else 1
        resources:
            **(resources_of(workflow, "train_sae") if pack else {}),
        params:
            spec=training_spec(pack),
            code=training_code(pack),
            # Of the outputs, which Snakemake compares already.
            dictionaries=wanted(pack),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/train_sae.py"


for pack in PACKS:

    rule:
        name:
            name_of("encode", pack)
        input:
            manifest=manifest_of(pack, "eval"),
            weights=files_of(pack, "sae.safetensors"),
            about=files_of(pack, "sae.json"),
            index=dataset_file("images/eval.parquet", pack),
        output:
            codes=files_of(pack, "codes.parquet"),
            quality=files_of(pack, "quality.json"),
        log:
            f"<logs>/encode/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/encode/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
        conda:
            ENVIRONMENT
        resources:
            **(resources_of(workflow, "encode") if pack else {}),
        params:
            code=code_of("encode"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/encode.py"
