rule build_taxonomy:
    input:
        **{split: f"{RESULTS}/datasets/{{dataset}}/images/{split}.parquet" for split in SPLITS},
        wordnet=NLTK_DATA / "corpora" / "wordnet.zip",
        table=lambda w: DATASETS[w.dataset].get("taxonomy", []),
    output:
        f"{RESULTS}/datasets/{{dataset}}/taxonomy.parquet",
    log:
        f"{RESULTS}/logs/build_taxonomy/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/build_taxonomy/{{dataset}}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code_of("build_taxonomy"),
    script:
        "../scripts/build_taxonomy.py"
