from cladescope.provenance.identity import plan_record

ARCHITECTURES = ["architectures.csv", "first_depths.csv", "architectures.md"]
TABLES = [
    f"<results>/{layout.TABLES}/{name}"
    for name in (
        "metrics.csv",
        *(f"{table}.csv.gz" for table in SCORE_TABLES),
        "skipped_images.csv",
        "seeds.csv",
        "trends.csv",
        "comparisons.csv",
        "gains.csv",
        "probes.csv",
        "probe_nodes.csv",
        "evidence.md",
        *(ARCHITECTURES if COMPARED else []),
        *(["drawn.csv"] if has_planted() else []),
        *(["pairs.csv", "pair_nodes.csv.gz"] if PAIRED else []),
    )
]
COSTS = f"<results>/{layout.COSTS}"
RECORDS = {name: f"<results>/{layout.PROVENANCE.format(experiment=name)}" for name in EXPERIMENTS}


STAGES = stages()


rule record_provenance:
    input:
        manifests=lambda w: manifests_of(w.experiment),
        taxonomy=dataset_file("taxonomy.parquet"),
        about=lambda w: of_sweep("sae.json", w.experiment),
        quality=lambda w: of_sweep("quality.json", w.experiment),
        scores=lambda w: of_sweep("scores.json", w.experiment),
        lock=CHECKOUT / "envs" / "requirements.txt",
    output:
        report(
            f"<results>/{layout.PROVENANCE}",
            caption="../report/provenance.rst",
            category="Provenance",
        ),
    log:
        "<logs>/record_provenance/{experiment}.log",
    benchmark:
        "<benchmarks>/record_provenance/{experiment}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {"plan": plan_record(config, w.experiment), "code": STAGES},
        code=code_of("record_provenance"),
    script:
        "../scripts/record_provenance.py"


rule tabulate:
    input:
        **{table: of_sweep(f"{table}.parquet") for table in SCORE_TABLES},
        records=RECORDS.values(),
        scores=of_sweep("scores.json"),
        about=of_sweep("sae.json"),
        training=of_sweep("training.parquet"),
        quality=of_sweep("quality.json"),
        recurrence=of_layers(layout.RECURRENCE, seeded=True),
    output:
        **{table: f"<results>/{layout.TABLES}/{table}.csv.gz" for table in SCORE_TABLES},
        metrics=report(
            f"<results>/{layout.TABLES}/metrics.csv",
            caption="../report/metrics.rst",
            category="Tables",
        ),
    log:
        "<logs>/tabulate.log",
    benchmark:
        "<benchmarks>/tabulate.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "sweep": [identity_of(dictionary) for dictionary in SWEEP.values()],
            "tables": SCORE_TABLES,
        },
        code=code_of("tabulate"),
    script:
        "../scripts/tabulate.py"


rule tabulate_trends:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        seeds=f"<results>/{layout.TABLES}/seeds.csv",
        trends=report(
            f"<results>/{layout.TABLES}/trends.csv",
            caption="../report/trends.rst",
            category="Tables",
        ),
        comparisons=f"<results>/{layout.TABLES}/comparisons.csv",
        gains=f"<results>/{layout.TABLES}/gains.csv",
    log:
        "<logs>/tabulate_trends.log",
    benchmark:
        "<benchmarks>/tabulate_trends.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "level": config["scores"]["fdr"],
            "draws": config["scores"]["null_draws"],
        },
        code=code_of("tabulate_trends"),
    script:
        "../scripts/tabulate_trends.py"


rule contrast_drawn:
    input:
        nodes=rules.tabulate.output.nodes,
        metrics=rules.tabulate.output.metrics,
        drawn=DRAWN,
    output:
        report(
            f"<results>/{layout.TABLES}/drawn.csv",
            caption="../report/drawn.rst",
            category="Tables",
        ),
    log:
        "<logs>/contrast_drawn.log",
    benchmark:
        "<benchmarks>/contrast_drawn.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code_of("contrast_drawn"),
    script:
        "../scripts/contrast_drawn.py"


rule tabulate_probes:
    input:
        levels=of_layers(f"{layout.PROBES}.parquet"),
        nodes=of_layers(f"{layout.PROBES}_nodes.parquet"),
        records=RECORDS.values(),
    output:
        levels=f"<results>/{layout.TABLES}/probes.csv",
        nodes=f"<results>/{layout.TABLES}/probe_nodes.csv",
    log:
        "<logs>/tabulate_probes.log",
    benchmark:
        "<benchmarks>/tabulate_probes.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"places": swept_layers()},
        code=code_of("tabulate_probes"),
    script:
        "../scripts/tabulate_probes.py"


if PAIRED:

    rule tabulate_pairs:
        input:
            **{table: of_paired(f"{table}.parquet") for table in PAIR_TABLES},
            **{
                f"of_{dataset}": [
                    f"<results>/{pattern.format(dataset=dataset, split=PAIRS)}"
                    for pattern in (layout.PAIR_TABLE, layout.INDEX)
                ]
                for dataset in PAIRED_DATASETS
            },
            records=[RECORDS[name] for name in PAIRED],
        output:
            pairs=report(
                f"<results>/{layout.TABLES}/pairs.csv",
                caption="../report/pairs.rst",
                category="Tables",
            ),
            pair_nodes=f"<results>/{layout.TABLES}/pair_nodes.csv.gz",
        log:
            "<logs>/tabulate_pairs.log",
        benchmark:
            "<benchmarks>/tabulate_pairs.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "sweep": [
                    identity_of(entry) for entry in SWEEP.values() if entry.experiment in PAIRED
                ],
            },
            code=code_of("tabulate_pairs"),
        script:
            "../scripts/tabulate_pairs.py"


if COMPARED:

    rule compare_architectures:
        input:
            metrics=rules.tabulate.output.metrics,
            nodes=rules.tabulate.output.nodes,
            probes=rules.tabulate_probes.output.nodes,
        output:
            depths=f"<results>/{layout.TABLES}/architectures.csv",
            firsts=f"<results>/{layout.TABLES}/first_depths.csv",
            page=report(
                f"<results>/{layout.TABLES}/architectures.md",
                caption="../report/architectures.rst",
                category="Tables",
            ),
        log:
            "<logs>/compare_architectures.log",
        benchmark:
            "<benchmarks>/compare_architectures.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={"layers": {name: EXPERIMENTS[name]["backbone"]["blocks"] for name in EXPERIMENTS}},
            code=code_of("compare_architectures"),
        script:
            "../scripts/compare_architectures.py"


rule write_evidence:
    input:
        **({"ablation": ABLATION[0]} if ABLATED else {}),
        **({"uses": USES[0]} if USED else {}),
        **({"segmentation": SEGMENTATION[0]} if SEGMENTED else {}),
        **({"pairs": rules.tabulate_pairs.output.pairs} if PAIRED else {}),
        metrics=rules.tabulate.output.metrics,
        sizes=rules.tabulate.output.sizes,
        probes=rules.tabulate_probes.output.nodes,
        gains=rules.tabulate_trends.output.gains,
    output:
        report(
            f"<results>/{layout.TABLES}/evidence.md",
            caption="../report/evidence.rst",
            category="Tables",
        ),
    log:
        "<logs>/write_evidence.log",
    benchmark:
        "<benchmarks>/write_evidence.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code_of("write_evidence"),
    script:
        "../scripts/write_evidence.py"


rule tabulate_skipped:
    input:
        skipped=skipped_images().values(),
        records=RECORDS.values(),
    output:
        f"<results>/{layout.TABLES}/skipped_images.csv",
    log:
        "<logs>/tabulate_skipped.log",
    benchmark:
        "<benchmarks>/tabulate_skipped.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "splits": list(skipped_images()),
            # Which of the records are about each dataset.
            "records": {
                dataset: [
                    number
                    for number, name in enumerate(RECORDS)
                    if EXPERIMENTS[name]["dataset"] == dataset
                ]
                for dataset in used_datasets()
            },
        },
        code=code_of("tabulate_skipped"),
    script:
        "../scripts/tabulate_skipped.py"


if MAPPED:

    rule tabulate_relevancy:
        input:
            maps=[f"<results>/{dictionary.folder}/relevancy.parquet" for dictionary in MAPPED],
            records=RECORDS.values(),
        output:
            report(
                RELEVANCY[0],
                caption="../report/relevancy.rst",
                category="Tables",
            ),
        log:
            "<logs>/tabulate_relevancy.log",
        benchmark:
            "<benchmarks>/tabulate_relevancy.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "dictionaries": [identity_of(dictionary) for dictionary in MAPPED],
                "draws": config["relevancy"]["bootstrap_draws"],
                "seed": config["relevancy"]["seed"],
            },
            code=code_of("tabulate_relevancy"),
        script:
            "../scripts/tabulate_relevancy.py"


if ABLATED:

    rule tabulate_ablation:
        input:
            ablations=[f"<results>/{dictionary.folder}/ablation.parquet" for dictionary in ABLATED],
            records=RECORDS.values(),
        output:
            report(
                ABLATION[0],
                caption="../report/ablation.rst",
                category="Tables",
            ),
        log:
            "<logs>/tabulate_ablation.log",
        benchmark:
            "<benchmarks>/tabulate_ablation.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "dictionaries": [identity_of(dictionary) for dictionary in ABLATED],
                "draws": config["ablation"]["bootstrap_draws"],
                "seed": config["ablation"]["seed"],
            },
            code=code_of("tabulate_ablation"),
        script:
            "../scripts/tabulate_ablation.py"


if USED:

    rule tabulate_uses:
        input:
            uses=[f"<results>/{dictionary.folder}/uses.parquet" for dictionary in USED],
            records=RECORDS.values(),
        output:
            report(
                USES[0],
                caption="../report/uses.rst",
                category="Tables",
            ),
        log:
            "<logs>/tabulate_uses.log",
        benchmark:
            "<benchmarks>/tabulate_uses.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "dictionaries": [identity_of(dictionary) for dictionary in USED],
                "draws": config["uses"]["bootstrap_draws"],
                "seed": config["uses"]["seed"],
            },
            code=code_of("tabulate_uses"),
        script:
            "../scripts/tabulate_uses.py"


if SEGMENTED:

    rule tabulate_segmentation:
        input:
            segmentation=[
                f"<results>/{dictionary.folder}/segmentation.parquet" for dictionary in SEGMENTED
            ],
            records=RECORDS.values(),
        output:
            report(
                SEGMENTATION[0],
                caption="../report/segmentation_table.rst",
                category="Tables",
            ),
        log:
            "<logs>/tabulate_segmentation.log",
        benchmark:
            "<benchmarks>/tabulate_segmentation.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "dictionaries": [identity_of(dictionary) for dictionary in SEGMENTED],
                "draws": config["segmentation"]["bootstrap_draws"],
                "seed": config["segmentation"]["seed"],
            },
            code=code_of("tabulate_segmentation"),
        script:
            "../scripts/tabulate_segmentation.py"
