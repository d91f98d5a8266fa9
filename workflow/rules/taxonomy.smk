rule build_taxonomy:
    input:
        **{split: f"<results>/{layout.INDEX}".replace("{split}", split) for split in SPLITS},
        wordnet=CHECKOUT / "resources" / "nltk_data" / "corpora" / "wordnet.zip",
        table=lambda w: DATASETS[w.dataset].get("taxonomy", []),
    output:
        f"<results>/{layout.TAXONOMY}",
    log:
        "<logs>/build_taxonomy/{dataset}.log",
    benchmark:
        "<benchmarks>/build_taxonomy/{dataset}.tsv"
    priority: EARLY
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {
            "on_shared_image": DATASETS[w.dataset]["on_shared_image"],
            **named_nodes(w.dataset),
        },
        code=code_of("build_taxonomy"),
    script:
        "../scripts/build_taxonomy.py"
