for pack in PACKS:

    rule:
        name:
            name_of("score_dictionary", pack)
        input:
            codes=files_of(pack, "codes.parquet"),
            index=dataset_file("images/eval.parquet", pack),
            groups=groups_of("eval", pack),
            taxonomy=dataset_file("taxonomy.parquet", pack),
        output:
            **{table: files_of(pack, f"{table}.parquet") for table in SCORE_TABLES},
            scores=files_of(pack, "scores.json"),
        log:
            f"<logs>/score_dictionary/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/score_dictionary/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
        conda:
            ENVIRONMENT
        threads: threads_of(workflow, "score_dictionary") if pack else 1
        resources:
            **(resources_of(workflow, "score_dictionary") if pack else {}),
        params:
            spec=config["scores"],
            code=code_of("score_dictionary"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/score_dictionary.py"


rule match_seeds:
    input:
        weights=lambda w: of_groups("sae.safetensors", w),
        about=lambda w: of_groups("sae.json", w),
    output:
        f"<results>/{layout.RECURRENCE}",
    log:
        "<logs>/match_seeds/{experiment}_{token}_L{layer}.log",
    benchmark:
        "<benchmarks>/match_seeds/{experiment}_{token}_L{layer}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {"groups": seed_groups(w)},
        code=code_of("match_seeds"),
    script:
        "../scripts/match_seeds.py"


rule probe_layer:
    input:
        **{split: manifest_of(None, split) for split in SPLITS},
        train_index=dataset_file("images/train.parquet"),
        eval_index=dataset_file("images/eval.parquet"),
        train_groups=groups_of("train"),
        taxonomy=dataset_file("taxonomy.parquet"),
    output:
        levels=f"<results>/{layout.PROBES}.parquet",
        nodes=f"<results>/{layout.PROBES}_nodes.parquet",
    log:
        "<logs>/probe_layer/{experiment}_{token}_L{layer}.log",
    benchmark:
        "<benchmarks>/probe_layer/{experiment}_{token}_L{layer}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=config["probes"],
        code=code_of("probe_layer"),
    script:
        "../scripts/probe_layer.py"


for pack in PAIRED_PACKS:

    rule:
        name:
            name_of("score_pairs", pack)
        input:
            manifest=manifest_of(pack, PAIRS),
            weights=files_of(pack, "sae.safetensors"),
            about=files_of(pack, "sae.json"),
            latents=files_of(pack, "latents.parquet"),
            nodes=files_of(pack, "nodes.parquet"),
            pairs=dataset_file("pairs.parquet", pack),
        output:
            **{table: files_of(pack, f"{table}.parquet") for table in PAIR_TABLES},
        log:
            f"<logs>/score_pairs/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/score_pairs/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(PAIRED_ALONE),
        conda:
            ENVIRONMENT
        resources:
            **(resources_of(workflow, "score_pairs") if pack else {}),
        params:
            spec={"seed": config["scores"]["seed"]},
            code=code_of("score_pairs"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/score_pairs.py"
