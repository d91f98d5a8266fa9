rule render_planted:
    output:
        images=directory(f"<results>/{layout.RENDERED}"),
        factors=f"<results>/{layout.RENDERED}.parquet",
    log:
        "<logs>/render_planted/{dataset}_{split}.log",
    benchmark:
        "<benchmarks>/render_planted/{dataset}_{split}.tsv"
    wildcard_constraints:
        split="|".join(SPLITS),
    priority: EARLY
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {
            "seed": DATASETS[w.dataset]["seed"],
            "images_per_class": DATASETS[w.dataset]["images_per_class"][w.split],
        },
        code=code_of("render_planted"),
    script:
        "../scripts/render_planted.py"


rule index_images:
    input:
        index_inputs,
    output:
        index=f"<results>/{layout.INDEX}",
        # Where the images are. Found beside the index by who reads images, an input of nobody: the
        # same images at another place make the same index, and nothing else again.
        source=f"<results>/{layout.IMAGES}.source.json",
        skipped=f"<results>/{layout.IMAGES}_skipped.csv",
    log:
        "<logs>/index_images/{dataset}_{split}.log",
    benchmark:
        "<benchmarks>/index_images/{dataset}_{split}.tsv"
    wildcard_constraints:
        split="|".join(SPLITS),
    priority: EARLY
    conda:
        ENVIRONMENT
    threads: 16
    params:
        spec=index_spec_of,
        code=code_of("index_images"),
    script:
        "../scripts/index_images.py"


# Beside the index and not in it: a group changes scores, but no activation.
rule group_images:
    input:
        index=f"<results>/{layout.INDEX}",
        labels=lambda w: DATASETS[w.dataset]["label_files"][w.split],
    output:
        f"<results>/{layout.GROUPS}",
    log:
        "<logs>/group_images/{dataset}_{split}.log",
    benchmark:
        "<benchmarks>/group_images/{dataset}_{split}.tsv"
    priority: EARLY
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {"column": DATASETS[w.dataset]["group"]},
        code=code_of("group_images"),
    script:
        "../scripts/group_images.py"


rule render_pairs:
    input:
        taxonomy=f"<results>/{layout.TAXONOMY}",
    output:
        images=directory(f"<results>/{layout.RENDERED_PAIRS}"),
        table=f"<results>/{layout.RENDERED_PAIRS}.csv",
    log:
        "<logs>/render_pairs/{dataset}.log",
    benchmark:
        "<benchmarks>/render_pairs/{dataset}.tsv"
    priority: EARLY
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {
            "seed": DATASETS[w.dataset]["seed"],
            "scenes_per_class": DATASETS[w.dataset]["pair_scenes"],
        },
        code=code_of("render_pairs"),
    script:
        "../scripts/render_pairs.py"


rule index_pairs:
    input:
        table=pair_table,
        taxonomy=f"<results>/{layout.TAXONOMY}",
    output:
        index=f"<results>/{layout.INDEX}".replace("{split}", PAIRS),
        source=f"<results>/{layout.IMAGES}.source.json".replace("{split}", PAIRS),
        pairs=f"<results>/{layout.PAIR_TABLE}",
    log:
        "<logs>/index_pairs/{dataset}.log",
    benchmark:
        "<benchmarks>/index_pairs/{dataset}.tsv"
    priority: EARLY
    conda:
        ENVIRONMENT
    threads: 16
    params:
        code=code_of("index_pairs"),
    script:
        "../scripts/index_pairs.py"
