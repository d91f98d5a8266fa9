rule render_planted:
    output:
        images=directory(f"{RESULTS}/datasets/{{dataset}}/rendered/{{split}}"),
        factors=f"{RESULTS}/datasets/{{dataset}}/rendered/{{split}}.parquet",
    log:
        f"{RESULTS}/logs/render_planted/{{dataset}}_{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/render_planted/{{dataset}}_{{split}}.tsv"
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
        index=f"{RESULTS}/datasets/{{dataset}}/images/{{split}}.parquet",
        # Where the images are. Found beside the index by who reads images, an input of nobody: the
        # same images at another place make the same index, and nothing else again.
        source=f"{RESULTS}/datasets/{{dataset}}/images/{{split}}.source.json",
        skipped=f"{RESULTS}/datasets/{{dataset}}/images/{{split}}_skipped.csv",
    log:
        f"{RESULTS}/logs/index_images/{{dataset}}_{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/index_images/{{dataset}}_{{split}}.tsv"
    conda:
        ENVIRONMENT
    threads: 16
    params:
        spec=index_spec_of,
        code=code_of("index_images"),
    script:
        "../scripts/index_images.py"
