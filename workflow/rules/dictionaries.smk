DICTIONARY = f"{RESULTS}/{{experiment}}/dictionaries/{{token}}/L{{layer}}/{{variant}}/{{name}}"

TRAINED_SWEEP = {
    folder: dictionary for folder, dictionary in SWEEP.items() if dictionary.variant in TRAINED
}


rule train_sae:
    input:
        # The manifest stands for its shards: it holds their checksums, which training verifies.
        manifest=f"{RESULTS}/{{experiment}}/activations/train/{{token}}/L{{layer}}.json",
    output:
        weights=f"{DICTIONARY}/sae.safetensors",
        about=f"{DICTIONARY}/sae.json",
        log=f"{DICTIONARY}/training.parquet",
    log:
        f"{RESULTS}/logs/train_sae/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_sae/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {
            "width": dictionary_of(w).width,
            "sparsity": dictionary_of(w).sparsity,
            "seed": dictionary_of(w).seed,
            "recipe": config["training"] if w.variant in TRAINED else None,
        },
        code=lambda w: code_of("train_sae", f"variants/{w.variant}.py"),
    script:
        "../scripts/train_sae.py"


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
