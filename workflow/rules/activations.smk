rule train_planted_backbone:
    input:
        **{split: f"<results>/{layout.RENDERED}".replace("{split}", split) for split in SPLITS},
    output:
        weights=f"<results>/{layout.BACKBONE}.safetensors",
        sidecar=f"<results>/{layout.BACKBONE}.json",
    log:
        "<logs>/train_planted_backbone/{dataset}_{recipe}_s{seed}.log",
    benchmark:
        "<benchmarks>/train_planted_backbone/{dataset}_{recipe}_s{seed}.tsv"
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
    made_from = {
        "index": f"<results>/{job.index}",
        "weights": job.backbone["weights"] if weights_kind(job.backbone) == "file" else [],
    }
    spec = {"backbone": job.backbone, "extraction": job.extraction}
    manifests = [f"<results>/{job.manifest(place)}" for place in job.places]
    manifests = [protected(path) if job.protect else path for path in manifests]

    if job.jobs == 1:

        rule:
            name:
                f"extract_activations_{job.stem}"
            input:
                **made_from,
            output:
                manifests=manifests,
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
                spec=spec,
                code=extraction_code(),
            script:
                "../scripts/extract_activations.py"

    else:

        # What is recorded of the manifests is the same as above, so that another number of jobs
        # recomputes nothing: inputs that are parts leave no record.
        rule:
            name:
                f"extract_shards_{job.stem}"
            input:
                **made_from,
            output:
                [temp(part) for part in parts_of(job, "{shards}")],
            log:
                f"<logs>/extract_shards/{job.stem}_{{shards}}.log",
            benchmark:
                f"<benchmarks>/extract_shards/{job.stem}_{{shards}}.tsv"
            conda:
                ENVIRONMENT
            threads: job.threads
            resources:
                **resources_of(workflow, "extract_activations"),
            params:
                spec=spec,
                code=extraction_code(),
            script:
                "../scripts/extract_shards.py"

        rule:
            name:
                f"join_shards_{job.stem}"
            input:
                **made_from,
                partials=[part for shards in job.parts() for part in parts_of(job, shards)],
            output:
                manifests,
            log:
                f"<logs>/join_shards/{job.stem}.log",
            benchmark:
                f"<benchmarks>/join_shards/{job.stem}.tsv"
            conda:
                ENVIRONMENT
            params:
                spec=spec,
                code=extraction_code(),
            script:
                "../scripts/join_shards.py"
