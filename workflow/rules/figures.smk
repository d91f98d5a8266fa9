FORMATS = config["figures"]["formats"]
FIGURES = [
    f"<results>/{layout.FIGURES}/{name}.{suffix}"
    for name in (
        "scores",
        "by_size",
        "surface",
        "recovered_nodes",
        "sensitivity",
        "frontier",
        "quality",
        "training_curves",
        "top_images",
        *(["architectures"] if COMPARED else []),
        *(["examples"] if MAPPED else []),
        *(["ablation"] if ABLATED else []),
        *(["uses"] if USED else []),
        *(["segmentation"] if SEGMENTED else []),
        *(["pairs"] if PAIRED else []),
    )
    for suffix in FORMATS
]
TRAINED_SWEEP = {
    folder: dictionary for folder, dictionary in SWEEP.items() if dictionary.variant in TRAINED
}


rule plot_scores:
    input:
        metrics=rules.tabulate.output.metrics,
        probes=rules.tabulate_probes.output.nodes,
    output:
        figure("scores", "Scores"),
    log:
        "<logs>/plot_scores.log",
    benchmark:
        "<benchmarks>/plot_scores.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_scores"),
    script:
        "../scripts/plot_scores.py"


rule plot_by_size:
    input:
        metrics=rules.tabulate.output.metrics,
        sizes=rules.tabulate.output.sizes,
    output:
        figure("by_size", "Scores"),
    log:
        "<logs>/plot_by_size.log",
    benchmark:
        "<benchmarks>/plot_by_size.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_by_size"),
    script:
        "../scripts/plot_by_size.py"


rule plot_surface:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        figure("surface", "Scores"),
    log:
        "<logs>/plot_surface.log",
    benchmark:
        "<benchmarks>/plot_surface.tsv"
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
        taxonomy=f"<results>/{layout.TAXONOMY.format(dataset=shown_dataset())}",
        drawn=DRAWN if has_planted() else [],
    output:
        figure("recovered_nodes", "Scores"),
    log:
        "<logs>/plot_recovered_nodes.log",
    benchmark:
        "<benchmarks>/plot_recovered_nodes.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={
            "dpi": config["figures"]["dpi"],
            "dataset": shown_dataset(),
        },
        code=code_of("plot_recovered_nodes"),
    script:
        "../scripts/plot_recovered_nodes.py"


rule plot_sensitivity:
    input:
        metrics=rules.tabulate.output.metrics,
        sensitivity=rules.tabulate.output.sensitivity,
    output:
        figure("sensitivity", "Scores"),
    log:
        "<logs>/plot_sensitivity.log",
    benchmark:
        "<benchmarks>/plot_sensitivity.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_sensitivity"),
    script:
        "../scripts/plot_sensitivity.py"


rule plot_frontier:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        figure("frontier", "Scores"),
    log:
        "<logs>/plot_frontier.log",
    benchmark:
        "<benchmarks>/plot_frontier.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_frontier"),
    script:
        "../scripts/plot_frontier.py"


rule plot_quality:
    input:
        metrics=rules.tabulate.output.metrics,
    output:
        figure("quality", "Dictionaries"),
    log:
        "<logs>/plot_quality.log",
    benchmark:
        "<benchmarks>/plot_quality.tsv"
    conda:
        ENVIRONMENT
    params:
        spec={"dpi": config["figures"]["dpi"]},
        code=code_of("plot_quality"),
    script:
        "../scripts/plot_quality.py"


rule plot_top_images:
    input:
        codes=f"<results>/{SHOWN.folder}/codes.parquet",
        latents=f"<results>/{SHOWN.folder}/latents.parquet",
        index=f"<results>/{layout.INDEX.format(dataset=shown_dataset(), split='eval')}",
    output:
        figure("top_images", "Latents"),
    log:
        "<logs>/plot_top_images.log",
    benchmark:
        "<benchmarks>/plot_top_images.tsv"
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


rule plot_training_curves:
    input:
        logs=[f"<results>/{folder}/training.parquet" for folder in TRAINED_SWEEP],
    output:
        figure("training_curves", "Dictionaries"),
    log:
        "<logs>/plot_training_curves.log",
    benchmark:
        "<benchmarks>/plot_training_curves.tsv"
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


if MAPPED:

    rule plot_examples:
        input:
            maps=f"<results>/{MAPPED[0].folder}/relevancy.parquet",
            latents=f"<results>/{MAPPED[0].folder}/latents.parquet",
            nodes=f"<results>/{MAPPED[0].folder}/nodes.parquet",
            index=f"<results>/{layout.INDEX.format(dataset=EXPERIMENTS[MAPPED[0].experiment]['dataset'], split='eval')}",
        output:
            figure("examples", "Latents"),
        log:
            "<logs>/plot_examples.log",
        benchmark:
            "<benchmarks>/plot_examples.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "dpi": config["figures"]["dpi"],
                "title": MAPPED[0].folder,
                "nodes": config["relevancy"].get("nodes", []),
            },
            code=code_of("plot_examples"),
        script:
            "../scripts/plot_examples.py"


if PAIRED:

    rule plot_pairs:
        input:
            pairs=rules.tabulate_pairs.output.pairs,
        output:
            figure("pairs", "Latents"),
        log:
            "<logs>/plot_pairs.log",
        benchmark:
            "<benchmarks>/plot_pairs.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={"dpi": config["figures"]["dpi"]},
            code=code_of("plot_pairs"),
        script:
            "../scripts/plot_pairs.py"


if ABLATED:

    rule plot_ablation:
        input:
            ablation=ABLATION[0],
        output:
            figure("ablation", "Scores"),
        log:
            "<logs>/plot_ablation.log",
        benchmark:
            "<benchmarks>/plot_ablation.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={"dpi": config["figures"]["dpi"]},
            code=code_of("plot_ablation"),
        script:
            "../scripts/plot_ablation.py"


if USED:

    rule plot_uses:
        input:
            uses=USES[0],
        output:
            figure("uses", "Scores"),
        log:
            "<logs>/plot_uses.log",
        benchmark:
            "<benchmarks>/plot_uses.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={"dpi": config["figures"]["dpi"]},
            code=code_of("plot_uses"),
        script:
            "../scripts/plot_uses.py"


if SEGMENTED:

    rule plot_segmentation:
        input:
            segmentation=SEGMENTATION[0],
        output:
            figure("segmentation", "Scores"),
        log:
            "<logs>/plot_segmentation.log",
        benchmark:
            "<benchmarks>/plot_segmentation.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={"dpi": config["figures"]["dpi"]},
            code=code_of("plot_segmentation"),
        script:
            "../scripts/plot_segmentation.py"


if COMPARED:

    rule plot_architectures:
        input:
            depths=rules.compare_architectures.output.depths,
            firsts=rules.compare_architectures.output.firsts,
        output:
            figure("architectures", "Scores"),
        log:
            "<logs>/plot_architectures.log",
        benchmark:
            "<benchmarks>/plot_architectures.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={"dpi": config["figures"]["dpi"]},
            code=code_of("plot_architectures"),
        script:
            "../scripts/plot_architectures.py"
