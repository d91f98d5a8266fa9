rule render_planted:
    output:
        images=directory(f"<results>/{layout.RENDERED}"),
        factors=f"<results>/{layout.RENDERED}.parquet",
    log:
        "<logs>/render_planted/{dataset}_{split}.log",
    benchmark:
        "<benchmarks>/render_planted/{dataset}_{split}.tsv"
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
    priority: EARLY
    conda:
        ENVIRONMENT
    threads: 16
    params:
        spec=index_spec_of,
        code=code_of("index_images"),
    script:
        "../scripts/index_images.py"
