POSITIONS = [f"<results>/{dictionary.folder}/positions.parquet" for dictionary in POSITIONED]
POSITIONS_JOBS = jobs_among(POSITIONED)


for pack in POSITIONS_JOBS:

    rule:
        name:
            name_of("keep_positions", pack)
        input:
            manifest=manifest_of(pack, "eval"),
            weights=files_of(pack, "sae.safetensors"),
            about=files_of(pack, "sae.json"),
            index=dataset_file("images/eval.parquet", pack),
        output:
            files_of(pack, "positions.parquet"),
        log:
            f"<logs>/keep_positions/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/keep_positions/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
        conda:
            ENVIRONMENT
        resources:
            **(resources_of(workflow, "keep_positions") if pack else {}),
        params:
            spec=positions_spec(pack),
            code=code_of("keep_positions"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/keep_positions.py"
