rule train_planted_backbone:
    input:
        train=f"{RESULTS}/datasets/{{dataset}}/rendered/train",
        eval=f"{RESULTS}/datasets/{{dataset}}/rendered/eval",
    output:
        weights=f"{RESULTS}/backbones/{{dataset}}/s{{seed}}.safetensors",
        sidecar=f"{RESULTS}/backbones/{{dataset}}/s{{seed}}.json",
    log:
        f"{RESULTS}/logs/train_planted_backbone/{{dataset}}_s{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_planted_backbone/{{dataset}}_s{{seed}}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code_of("train_planted_backbone"),
    script:
        "../scripts/train_planted_backbone.py"


# One rule for each pass: its layers share a forward, every layer has files of its own, and the pass
# itself is in no path and no parameter. So a layer added as a new pass recomputes only that layer,
# and regrouping the passes recomputes nothing.
for experiment, arm in EXPERIMENTS.items():
    for split in SPLITS:
        for number, layers in enumerate(arm["extraction"]["passes"]):
            stem = f"{experiment}_{split}_{number}"
            folder = f"{RESULTS}/{experiment}/activations/{split}"
            dataset = arm["dataset"]
            shards = arm["extraction"]["shards"][split]
            finished = protected if arm["extraction"]["protect"] else str

            rule:
                name:
                    f"extract_activations_{stem}"
                input:
                    index=f"{RESULTS}/datasets/{dataset}/images/{split}.parquet",
                    weights=(
                        arm["backbone"]["weights"]
                        if weights_kind(arm["backbone"]) == "file"
                        else []
                    ),
                output:
                    chunks=[
                        finished(f"{folder}/L{layer}.zarr/c/{shard}/0/0")
                        for layer in layers
                        for shard in range(shards)
                    ],
                    arrays=[f"{folder}/L{layer}.zarr/zarr.json" for layer in layers],
                    manifests=[f"{folder}/L{layer}.json" for layer in layers],
                log:
                    f"{RESULTS}/logs/extract_activations/{stem}.log",
                benchmark:
                    f"{RESULTS}/benchmarks/extract_activations/{stem}.tsv"
                conda:
                    ENVIRONMENT
                params:
                    spec={
                        "backbone": arm["backbone"],
                        "shards": shards,
                        "precision": arm["extraction"]["precision"],
                        "batch_size": arm["extraction"]["batch_size"],
                        "folder": image_folder(dataset, split),
                    },
                    code=code_of("extract_activations"),
                script:
                    "../scripts/extract_activations.py"
