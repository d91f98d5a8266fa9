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
