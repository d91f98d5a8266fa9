DICTIONARY = f"{RESULTS}/{{experiment}}/dictionaries/{{token}}/L{{layer}}/{{variant}}/{{name}}"

TRAINED_SWEEP = {
    folder: dictionary for folder, dictionary in SWEEP.items() if dictionary.variant in TRAINED
}


TRAINING = {
    "weights": "sae.safetensors",
    "about": "sae.json",
    "log": "training.parquet",
}


rule train_sae:
    input:
        # The manifest stands for its shards: it holds their checksums, which training verifies.
        manifest=f"{RESULTS}/{{experiment}}/activations/train/{{token}}/L{{layer}}.json",
    output:
        **{kind: f"{DICTIONARY}/{name}" for kind, name in TRAINING.items()},
    log:
        f"{RESULTS}/logs/train_sae/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_sae/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.tsv"
    conda:
        ENVIRONMENT
    params:
        # Width, sparsity and seed are in the paths.
        spec=lambda w: training_spec(w.variant),
        code=lambda w: code_of("train_sae", f"dictionaries/variants/{w.variant}.py"),
    script:
        "../scripts/train_sae.py"


# Dictionaries that train from one reading of the activations. A pack is in no path and no parameter:
# packing otherwise trains nothing again.
for number, pack in enumerate(expand_packs(config)):
    first = pack[0]
    stem = f"{first.experiment}_{first.token}_L{first.layer}_{first.variant}_{number}"

    rule:
        name:
            f"train_sae_{stem}"
        input:
            manifest=f"{RESULTS}/{first.experiment}/activations/train/{first.token}/L{first.layer}.json",
        output:
            **{
                kind: [f"{RESULTS}/{entry.folder}/{name}" for entry in pack]
                for kind, name in TRAINING.items()
            },
        log:
            f"{RESULTS}/logs/train_sae/{stem}.log",
        benchmark:
            f"{RESULTS}/benchmarks/train_sae/{stem}.tsv"
        conda:
            ENVIRONMENT
        resources:
            **resources_of("train_sae"),
        params:
            spec=training_spec(first.variant),
            code=code_of("train_sae", f"dictionaries/variants/{first.variant}.py"),
        script:
            "../scripts/train_sae.py"

    workflow.ruleorder(f"train_sae_{stem}", "train_sae")


rule plot_training_curves:
    input:
        logs=[f"{RESULTS}/{folder}/training.parquet" for folder in TRAINED_SWEEP],
    output:
        figure("training_curves"),
    log:
        f"{RESULTS}/logs/plot_training_curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_training_curves.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "dpi": config["figures"]["dpi"],
            "sweep": [identity_of(dictionary) for dictionary in TRAINED_SWEEP.values()],
        },
        code=code_of("plot_training_curves"),
    script:
        "../scripts/plot_training_curves.py"


rule encode:
    input:
        manifest=f"{RESULTS}/{{experiment}}/activations/eval/{{token}}/L{{layer}}.json",
        weights=rules.train_sae.output.weights,
        about=rules.train_sae.output.about,
        index=lambda w: dataset_file(w, "images/eval.parquet"),
    output:
        codes=f"{DICTIONARY}/codes.parquet",
        quality=f"{DICTIONARY}/quality.json",
    log:
        f"{RESULTS}/logs/encode/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code_of("encode"),
    script:
        "../scripts/encode.py"
