SEGMENTATION = [f"<results>/{layout.TABLES}/segmentation.csv"] if SEGMENTED else []
SEGMENTATION_JOBS = jobs_among(SEGMENTED)


# Masks of the planted world are in the table of what was drawn.
rule index_masks:
    input:
        index=f"<results>/{layout.INDEX}",
        folder=lambda w: DATASETS[w.dataset]["masks"]["folder"],
        table=lambda w: DATASETS[w.dataset]["masks"]["table"],
        taxonomy=lambda w: DATASETS[w.dataset].get("taxonomy", []),
        wordnet=CHECKOUT / "resources" / "nltk_data" / "corpora" / "wordnet.zip",
    output:
        masks=f"<results>/{layout.MASKS}",
        source=f"<results>/{layout.MASKS}".replace(".parquet", ".source.json"),
        taxonomy=f"<results>/{layout.MASK_TAXONOMY}",
    log:
        "<logs>/index_masks/{dataset}_{split}.log",
    benchmark:
        "<benchmarks>/index_masks/{dataset}_{split}.tsv"
    priority: EARLY
    conda:
        ENVIRONMENT
    threads: 16
    params:
        code=code_of("index_masks"),
    script:
        "../scripts/index_masks.py"


for pack in SEGMENTATION_JOBS:

    rule:
        name:
            name_of("segment", pack)
        input:
            unpack(masks_of(pack)),
            weights=files_of(pack, "sae.safetensors"),
            about=files_of(pack, "sae.json"),
            manifest=manifest_of(pack, "eval"),
            index=dataset_file("images/eval.parquet", pack),
            groups=groups_of("eval", pack),
        output:
            files_of(pack, "segmentation.parquet"),
        log:
            f"<logs>/segment/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/segment/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
        conda:
            ENVIRONMENT
        resources:
            **(resources_of(workflow, "segment") if pack else {}),
        params:
            spec=segmentation_spec(pack),
            code=code_of("segment"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/segment.py"
