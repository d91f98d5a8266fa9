ATLAS_FOLDER = f"{RESULTS}/atlas"
PAGES = CHECKOUT / "workflow" / "atlas"
ATLAS_SETTINGS = ("top_n", "tau", "rho", "mcc_threshold", "null_draws", "p_draws", "fdr")
PAGE_OPTIONS = ("images", "classes", "neighbours", "latents")


rule draw_thumbnails:
    input:
        index=f"{RESULTS}/datasets/{{dataset}}/images/eval.parquet",
    output:
        directory(f"{ATLAS_FOLDER}/images/{{dataset}}"),
    log:
        f"{RESULTS}/logs/draw_thumbnails/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_thumbnails/{{dataset}}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {"side": config["atlas"]["side"]},
        code=code_of("draw_thumbnails"),
    script:
        "../scripts/draw_thumbnails.py"


# Pages of one dictionary. What other seeds have in common with it is written by `build_atlas`: a
# dictionary more changes no pages but its own.
rule chart_dictionary:
    input:
        unpack(maps_of),
        codes=rules.encode.output.codes,
        weights=rules.train_sae.output.weights,
        about=rules.train_sae.output.about,
        latents=rules.score_dictionary.output.latents,
        nodes=rules.score_dictionary.output.nodes,
        relations=rules.score_dictionary.output.relations,
        index=lambda w: dataset_file(w, "images/eval.parquet"),
        taxonomy=lambda w: dataset_file(w, "taxonomy.parquet"),
    output:
        directory(
            f"{ATLAS_FOLDER}/dictionaries/{{experiment}}/{{token}}/L{{layer}}/{{variant}}/{{name}}"
        ),
    log:
        f"{RESULTS}/logs/chart_dictionary/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/chart_dictionary/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {
            **{key: config["atlas"][key] for key in PAGE_OPTIONS},
            "mcc_threshold": config["scores"]["mcc_threshold"],
        },
        code=code_of("chart_dictionary"),
    script:
        "../scripts/chart_dictionary.py"


if ATLAS:

    rule build_atlas:
        input:
            **shared_by_atlas(),
            metrics=rules.tabulate.output.metrics,
            probes=rules.tabulate_probes.output.nodes,
            recurrence=rules.tabulate.input.recurrence,
            images=[f"{ATLAS_FOLDER}/images/{dataset}" for dataset in used_datasets()],
            dictionaries=[f"{ATLAS_FOLDER}/dictionaries/{page_folder(folder)}" for folder in SWEEP],
            pages=sorted(PAGES.iterdir()),
        output:
            index=ATLAS[0],
            pages=directory(f"{ATLAS_FOLDER}/pages"),
            shared=directory(f"{ATLAS_FOLDER}/shared"),
        log:
            f"{RESULTS}/logs/build_atlas.log",
        benchmark:
            f"{RESULTS}/benchmarks/build_atlas.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "datasets": used_datasets(),
                "settings": {
                    **{key: config["scores"][key] for key in ATLAS_SETTINGS},
                    "shown": SHOWN.folder,
                },
            },
            code=code_of("build_atlas"),
        script:
            "../scripts/build_atlas.py"
