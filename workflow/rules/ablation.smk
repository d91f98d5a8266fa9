ABLATION = [f"<results>/{layout.TABLES}/ablation.csv"] if ABLATED else []
ABLATION_JOBS = jobs_among(ABLATED)
ABLATING = ("latents", "images", "permuted_draws", "batch_size", "seed")


for pack in ABLATION_JOBS:

    rule:
        name:
            name_of("ablate", pack)
        input:
            unpack(checkpoint_of(pack)),
            codes=files_of(pack, "codes.parquet"),
            weights=files_of(pack, "sae.safetensors"),
            about=files_of(pack, "sae.json"),
            index=dataset_file("images/eval.parquet", pack),
            train_index=dataset_file("images/train.parquet", pack),
            groups=groups_of("eval", pack),
            taxonomy=dataset_file("taxonomy.parquet", pack),
            here=[manifest_of(pack, split) for split in SPLITS],
            deepest=deepest_manifests(pack),
            wordnet=CHECKOUT / "resources" / "nltk_data" / "corpora" / "wordnet.zip",
        output:
            files_of(pack, "ablation.parquet"),
        log:
            f"<logs>/ablate/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/ablate/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
        conda:
            ENVIRONMENT
        resources:
            **(resources_of(workflow, "ablate") if pack else {}),
        params:
            spec=ablation_spec(pack),
            code=code_of("ablate"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/ablate.py"
