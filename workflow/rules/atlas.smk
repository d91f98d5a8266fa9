ATLAS = [f"<results>/{layout.ATLAS}/index.html"] if "atlas" in config else []
PAGES = CHECKOUT / "workflow" / "atlas"
# Evaluation images, and those of pairs; a dataset's name has no dot.
IMAGES_SHOWN = [*used_datasets(), *(f"{dataset}.{PAIRS}" for dataset in PAIRED_DATASETS)]
PAGE_OPTIONS = ("images", "classes", "neighbours", "latents")


rule draw_thumbnails:
    input:
        index=lambda w: index_shown(w.images),
    output:
        directory(f"<results>/{layout.THUMBNAILS}".replace("{dataset}", "{images}")),
    log:
        "<logs>/draw_thumbnails/{images}.log",
    benchmark:
        "<benchmarks>/draw_thumbnails/{images}.tsv"
    wildcard_constraints:
        images=one_of(IMAGES_SHOWN),
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {"side": config["atlas"]["side"]},
        code=code_of("draw_thumbnails"),
    script:
        "../scripts/draw_thumbnails.py"


# Pages of dictionaries. What other seeds have in common with them is written by `build_atlas`: a
# dictionary more changes no pages but its own.
for pack in PACKS:

    rule:
        name:
            name_of("chart_dictionary", pack)
        input:
            unpack(maps_of(pack)),
            unpack(segmentations_of(pack)),
            unpack(causes_of(pack)),
            **{
                name: files_of(pack, f"{name}.parquet")
                for name in ("codes", "latents", "nodes", "relations")
            },
            weights=files_of(pack, "sae.safetensors"),
            about=files_of(pack, "sae.json"),
            index=dataset_file("images/eval.parquet", pack),
            taxonomy=dataset_file("taxonomy.parquet", pack),
        output:
            pages=[directory(folder) for folder in files_of(pack, "", layout.PAGES)],
        log:
            f"<logs>/chart_dictionary/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/chart_dictionary/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
        conda:
            ENVIRONMENT
        resources:
            **(resources_of(workflow, "chart_dictionary") if pack else {}),
        params:
            spec=lambda w: {
                **{key: config["atlas"][key] for key in PAGE_OPTIONS},
                **{key: config["scores"][key] for key in ("mcc_threshold", "seed")},
            },
            code=code_of("chart_dictionary"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/chart_dictionary.py"


if ATLAS:

    rule build_atlas:
        input:
            **shared_by_atlas(),
            metrics=rules.tabulate.output.metrics,
            probes=rules.tabulate_probes.output.nodes,
            recurrence=rules.tabulate.input.recurrence,
            images=[f"<results>/{layout.THUMBNAILS.format(dataset=name)}" for name in IMAGES_SHOWN],
            dictionaries=[
                f"<results>/{layout.PAGES.format(name=entry.name, **vars(entry))}"
                for entry in SWEEP.values()
            ],
            pages=sorted(PAGES.iterdir()),
        output:
            index=ATLAS[0],
            pages=directory(f"<results>/{layout.ATLAS_CODE}"),
            shared=directory(f"<results>/{layout.ATLAS_SHARED}"),
        log:
            "<logs>/build_atlas.log",
        benchmark:
            "<benchmarks>/build_atlas.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "datasets": used_datasets(),
                "settings": {
                    **{key: config["scores"][key] for key in SETTINGS},
                    "shown": SHOWN.folder,
                },
            },
            code=code_of("build_atlas"),
        script:
            "../scripts/build_atlas.py"
