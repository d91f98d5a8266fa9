RELEVANCY = [f"{RESULTS}/tables/relevancy.csv"] if MAPPED else []
ATLAS = [f"{RESULTS}/atlas/index.html"] if "atlas" in config else []
TABLES = [
    f"{RESULTS}/tables/{name}"
    for name in (
        "metrics.csv",
        *(f"{table}.csv.gz" for table in SCORE_TABLES),
        "skipped_images.csv",
        "seeds.csv",
        "trends.csv",
        "comparisons.csv",
        "probes.csv",
        "probe_nodes.csv",
        *(["drawn.csv"] if has_planted() else []),
    )
]
FIGURES = [
    path
    for name in (
        "scores",
        "surface",
        "recovered_nodes",
        "sensitivity",
        "quality",
        "training_curves",
        "top_images",
        *(["examples"] if MAPPED else []),
    )
    for path in figure_files(name)
]


COSTS = f"{RESULTS}/tables/costs.csv"
STAGES = stages()
RECORDS = {name: f"{RESULTS}/{name}/provenance.json" for name in EXPERIMENTS}


rule record_provenance:
    input:
        manifests=lambda w: manifests_of(w.experiment),
        taxonomy=lambda w: dataset_file(w, "taxonomy.parquet"),
        about=lambda w: of_experiment(w.experiment, "sae.json"),
        quality=lambda w: of_experiment(w.experiment, "quality.json"),
        scores=lambda w: of_experiment(w.experiment, "scores.json"),
        lock=CHECKOUT / "envs" / "requirements.txt",
    output:
        report(
            f"{RESULTS}/{{experiment}}/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
        ),
    log:
        f"{RESULTS}/logs/record_provenance/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/record_provenance/{{experiment}}.tsv"
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
        quality=of_sweep("quality.json"),
        recurrence=[
            f"{RESULTS}/{experiment}/recurrence/{token}/L{layer}.parquet"
            for experiment, token, layer in swept_places(seeded=True)
        ],
    output:
        **{table: f"{RESULTS}/tables/{table}.csv.gz" for table in SCORE_TABLES},
        metrics=report(
            f"{RESULTS}/tables/metrics.csv",
            caption="../report/metrics.rst",
            category="Tables",
        ),
    log:
        f"{RESULTS}/logs/tabulate.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate.tsv"
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


rule compare:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        seeds=f"{RESULTS}/tables/seeds.csv",
        trends=report(
            f"{RESULTS}/tables/trends.csv",
            caption="../report/trends.rst",
            category="Tables",
        ),
        comparisons=f"{RESULTS}/tables/comparisons.csv",
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"level": config["scores"]["fdr"]},
        code=code_of("compare"),
    script:
        "../scripts/compare.py"


rule contrast_drawn:
    input:
        nodes=rules.tabulate.output.nodes,
        metrics=rules.tabulate.output.metrics,
        drawn=CHECKOUT / "resources" / "planted" / "nodes.csv",
    output:
        report(
            f"{RESULTS}/tables/drawn.csv",
            caption="../report/drawn.rst",
            category="Tables",
        ),
    log:
        f"{RESULTS}/logs/contrast_drawn.log",
    benchmark:
        f"{RESULTS}/benchmarks/contrast_drawn.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code_of("contrast_drawn"),
    script:
        "../scripts/contrast_drawn.py"


rule tabulate_probes:
    input:
        levels=[
            f"{RESULTS}/{experiment}/probes/{token}/L{layer}.parquet"
            for experiment, token, layer in swept_places()
        ],
        nodes=[
            f"{RESULTS}/{experiment}/probes/{token}/L{layer}_nodes.parquet"
            for experiment, token, layer in swept_places()
        ],
        records=RECORDS.values(),
    output:
        levels=f"{RESULTS}/tables/probes.csv",
        nodes=f"{RESULTS}/tables/probe_nodes.csv",
    log:
        f"{RESULTS}/logs/tabulate_probes.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_probes.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"places": swept_places()},
        code=code_of("tabulate_probes"),
    script:
        "../scripts/tabulate_probes.py"


rule tabulate_skipped:
    input:
        skipped=skipped_images().values(),
        records=RECORDS.values(),
    output:
        f"{RESULTS}/tables/skipped_images.csv",
    log:
        f"{RESULTS}/logs/tabulate_skipped.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_skipped.tsv"
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


rule tabulate_costs:
    input:
        # Everything that costs something must have been made.
        tables=TABLES,
        figures=FIGURES,
        relevancy=RELEVANCY,
        atlas=ATLAS,
        records=RECORDS.values(),
    output:
        COSTS,
    log:
        f"{RESULTS}/logs/tabulate_costs.log",
    conda:
        ENVIRONMENT
    params:
        code=code_of("tabulate_costs"),
    script:
        "../scripts/tabulate_costs.py"


rule plot_scores:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        figure("scores"),
    log:
        f"{RESULTS}/logs/plot_scores.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_scores.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_scores"),
    script:
        "../scripts/plot_scores.py"


rule plot_surface:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        figure("surface"),
    log:
        f"{RESULTS}/logs/plot_surface.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_surface.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_surface"),
    script:
        "../scripts/plot_surface.py"


rule plot_recovered_nodes:
    input:
        nodes=rules.tabulate.output.nodes,
        metrics=rules.tabulate.output.metrics,
        taxonomy=f"{RESULTS}/datasets/{EXPERIMENTS[SHOWN.experiment]['dataset']}/taxonomy.parquet",
        drawn=CHECKOUT / "resources" / "planted" / "nodes.csv" if has_planted() else [],
    output:
        figure("recovered_nodes"),
    log:
        f"{RESULTS}/logs/plot_recovered_nodes.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_recovered_nodes.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "dpi": config["figures"]["dpi"],
            "dataset": EXPERIMENTS[SHOWN.experiment]["dataset"],
        },
        code=code_of("plot_recovered_nodes"),
    script:
        "../scripts/plot_recovered_nodes.py"


rule plot_sensitivity:
    input:
        metrics=rules.tabulate.output.metrics,
        sensitivity=rules.tabulate.output.sensitivity,
    output:
        figure("sensitivity"),
    log:
        f"{RESULTS}/logs/plot_sensitivity.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_sensitivity.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_sensitivity"),
    script:
        "../scripts/plot_sensitivity.py"


rule plot_quality:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        figure("quality"),
    log:
        f"{RESULTS}/logs/plot_quality.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_quality.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_quality"),
    script:
        "../scripts/plot_quality.py"


rule plot_top_images:
    input:
        codes=f"{RESULTS}/{SHOWN.folder}/codes.parquet",
        latents=f"{RESULTS}/{SHOWN.folder}/latents.parquet",
        index=f"{RESULTS}/datasets/{EXPERIMENTS[SHOWN.experiment]['dataset']}/images/eval.parquet",
    output:
        figure("top_images"),
    log:
        f"{RESULTS}/logs/plot_top_images.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_top_images.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "dpi": config["figures"]["dpi"],
            "title": SHOWN.folder,
        },
        code=code_of("plot_top_images"),
    script:
        "../scripts/plot_top_images.py"
