TABLES = [
    f"{RESULTS}/tables/{name}"
    for name in ("metrics.csv", "latents.csv.gz", "nodes.csv.gz", "skipped_images.csv")
]
FIGURES = [path for name in ("scores", "quality", "top_images") for path in figure_files(name)]


rule tabulate:
    input:
        scores=of_sweep("scores.json"),
        quality=of_sweep("quality.json"),
        latents=of_sweep("latents.parquet"),
        nodes=of_sweep("nodes.parquet"),
    output:
        metrics=report(
            f"{RESULTS}/tables/metrics.csv",
            caption="../report/metrics.rst",
            category="Tables",
        ),
        latents=f"{RESULTS}/tables/latents.csv.gz",
        nodes=f"{RESULTS}/tables/nodes.csv.gz",
    log:
        f"{RESULTS}/logs/tabulate.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "sweep": [identity_of(dictionary) for dictionary in SWEEP.values()],
        },
        code=code_of("tabulate"),
    script:
        "../scripts/tabulate.py"


rule tabulate_skipped:
    input:
        skipped_images().values(),
    output:
        f"{RESULTS}/tables/skipped_images.csv",
    log:
        f"{RESULTS}/logs/tabulate_skipped.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_skipped.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"splits": list(skipped_images())},
        code=code_of("tabulate_skipped"),
    script:
        "../scripts/tabulate_skipped.py"


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
