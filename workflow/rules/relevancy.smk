RELEVANCY = [f"<results>/{layout.TABLES}/relevancy.csv"] if MAPPED else []
MAPPING = ("nodes", "latents", "random_latents", "images", "pairs_per_batch", "steps", "seed")


rule map_relevancy:
    input:
        unpack(mapping_inputs),
        codes=f"<results>/{layout.DICTIONARY}/codes.parquet",
        weights=f"<results>/{layout.DICTIONARY}/sae.safetensors",
        about=f"<results>/{layout.DICTIONARY}/sae.json",
        latents=f"<results>/{layout.DICTIONARY}/latents.parquet",
        nodes=f"<results>/{layout.DICTIONARY}/nodes.parquet",
        index=dataset_file("images/eval.parquet"),
    output:
        f"<results>/{layout.DICTIONARY}/relevancy.parquet",
    log:
        "<logs>/map_relevancy/<point>.log",
    benchmark:
        "<benchmarks>/map_relevancy/<point>.tsv"
    conda:
        ENVIRONMENT
    params:
        spec=lambda w: {
            "backbone": EXPERIMENTS[w.experiment]["backbone"],
            "relevancy": {
                key: value for key, value in config["relevancy"].items() if key in MAPPING
            },
        },
        code=code_of("map_relevancy"),
        results=lambda w, output: RESULTS,
    script:
        "../scripts/map_relevancy.py"
