SCORE_TABLES = ("latents", "nodes", "relations", "edges", "sensitivity")


rule score_dictionary:
    input:
        codes=rules.encode.output.codes,
        index=lambda w: dataset_file(w, "images/eval.parquet"),
        taxonomy=lambda w: dataset_file(w, "taxonomy.parquet"),
    output:
        **{table: f"{DICTIONARY}/{table}.parquet" for table in SCORE_TABLES},
        scores=f"{DICTIONARY}/scores.json",
    log:
        f"{RESULTS}/logs/score_dictionary/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_dictionary/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=config["scores"],
        code=code_of("score_dictionary"),
    script:
        "../scripts/score_dictionary.py"


rule match_seeds:
    input:
        lambda w: [
            f"{RESULTS}/{folder}/sae.safetensors" for group in seed_groups(w) for folder in group
        ],
    output:
        f"{RESULTS}/{{experiment}}/recurrence/{{token}}/L{{layer}}.parquet",
    log:
        f"{RESULTS}/logs/match_seeds/{{experiment}}_{{token}}_L{{layer}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/match_seeds/{{experiment}}_{{token}}_L{{layer}}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {"groups": seed_groups(w)},
        code=code_of("match_seeds"),
    script:
        "../scripts/match_seeds.py"


rule probe_layer:
    input:
        **{
            split: f"{RESULTS}/{{experiment}}/activations/{split}/{{token}}/L{{layer}}.json"
            for split in SPLITS
        },
        train_index=lambda w: dataset_file(w, "images/train.parquet"),
        eval_index=lambda w: dataset_file(w, "images/eval.parquet"),
        taxonomy=lambda w: dataset_file(w, "taxonomy.parquet"),
    output:
        levels=f"{RESULTS}/{{experiment}}/probes/{{token}}/L{{layer}}.parquet",
        nodes=f"{RESULTS}/{{experiment}}/probes/{{token}}/L{{layer}}_nodes.parquet",
    log:
        f"{RESULTS}/logs/probe_layer/{{experiment}}_{{token}}_L{{layer}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probe_layer/{{experiment}}_{{token}}_L{{layer}}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=config["probes"],
        code=code_of("probe_layer"),
    script:
        "../scripts/probe_layer.py"
