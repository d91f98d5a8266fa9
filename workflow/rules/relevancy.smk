MAPPING = ("nodes", "latents", "random_latents", "images", "pairs_per_batch", "steps", "seed")


rule map_relevancy:
    input:
        unpack(mapping_inputs),
        codes=rules.encode.output.codes,
        weights=rules.train_sae.output.weights,
        about=rules.train_sae.output.about,
        latents=rules.score_dictionary.output.latents,
        nodes=rules.score_dictionary.output.nodes,
        index=lambda w: dataset_file(w, "images/eval.parquet"),
    output:
        f"{DICTIONARY}/relevancy.parquet",
    log:
        f"{RESULTS}/logs/map_relevancy/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/map_relevancy/{{experiment}}_{{token}}_L{{layer}}_{{variant}}_{{name}}.tsv"
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
    script:
        "../scripts/map_relevancy.py"


if MAPPED:

    rule plot_examples:
        input:
            maps=f"{RESULTS}/{MAPPED[0].folder}/relevancy.parquet",
            latents=f"{RESULTS}/{MAPPED[0].folder}/latents.parquet",
            nodes=f"{RESULTS}/{MAPPED[0].folder}/nodes.parquet",
            index=f"{RESULTS}/datasets/{EXPERIMENTS[MAPPED[0].experiment]['dataset']}/images/eval.parquet",
        output:
            figure("examples"),
        log:
            f"{RESULTS}/logs/plot_examples.log",
        benchmark:
            f"{RESULTS}/benchmarks/plot_examples.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "dpi": config["figures"]["dpi"],
                "title": MAPPED[0].folder,
                "nodes": config["relevancy"].get("nodes", []),
            },
            code=code_of("plot_examples"),
        script:
            "../scripts/plot_examples.py"

    rule tabulate_relevancy:
        input:
            maps=[f"{RESULTS}/{dictionary.folder}/relevancy.parquet" for dictionary in MAPPED],
            records=RECORDS.values(),
        output:
            report(
                RELEVANCY[0],
                caption="../report/relevancy.rst",
                category="Tables",
            ),
        log:
            f"{RESULTS}/logs/tabulate_relevancy.log",
        benchmark:
            f"{RESULTS}/benchmarks/tabulate_relevancy.tsv"
        conda:
            ENVIRONMENT
        params:
            spec={
                "dictionaries": [identity_of(dictionary) for dictionary in MAPPED],
                "draws": config["relevancy"]["bootstrap_draws"],
                "seed": config["relevancy"]["seed"],
            },
            code=code_of("tabulate_relevancy"),
        script:
            "../scripts/tabulate_relevancy.py"
