rule train_planted_backbone:
    input:
        **{split: f"<results>/{layout.RENDERED}".replace("{split}", split) for split in SPLITS},
    output:
        weights=f"<results>/{layout.BACKBONE}.safetensors",
        sidecar=f"<results>/{layout.BACKBONE}.json",
    log:
        "<logs>/train_planted_backbone/{dataset}_s{seed}.log",
    benchmark:
        "<benchmarks>/train_planted_backbone/{dataset}_s{seed}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code_of("train_planted_backbone"),
    script:
        "../scripts/train_planted_backbone.py"


# One rule for each pass: its layers and tokens share a forward, every store has files of its own,
# and the pass itself is in no path and no parameter. So a layer or token added as a new pass is
# extracted alone, and regrouping the passes recomputes nothing.
#
# The manifests are the outputs and stand for the stores. Thousands of chunk files would be looked up
# in Snakemake's records at every start; each manifest has their checksums and is written last.
for job in expand_passes(config):
    manifests = [f"<results>/{job.manifest(place)}" for place in job.places]

    rule:
        name:
            f"extract_activations_{job.stem}"
        input:
            index=f"<results>/{job.index}",
            weights=(job.backbone["weights"] if weights_kind(job.backbone) == "file" else []),
        output:
            manifests=[protected(path) if job.protect else path for path in manifests],
        log:
            f"<logs>/extract_activations/{job.stem}.log",
        benchmark:
            f"<benchmarks>/extract_activations/{job.stem}.tsv"
        conda:
            ENVIRONMENT
        threads: job.threads
        resources:
            **resources_of(workflow, "extract_activations"),
        params:
            spec={
                "backbone": job.backbone,
                "extraction": job.extraction,
            },
            code=code_of("extract_activations"),
        script:
            "../scripts/extract_activations.py"
