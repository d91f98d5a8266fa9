DICTIONARY = f"{RESULTS}/{{experiment}}/dictionaries/{{token}}/L{{layer}}/{{variant}}/{{name}}"


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
