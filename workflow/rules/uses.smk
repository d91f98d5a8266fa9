USES = [f"<results>/{layout.TABLES}/uses.csv"] if USED else []
USES_JOBS = jobs_among(USED)


for pack in USES_JOBS:

    rule:
        name:
            name_of("measure_uses", pack)
        input:
            codes=files_of(pack, "codes.parquet"),
            manifest=manifest_of(pack, "eval"),
            index=dataset_file("images/eval.parquet", pack),
            groups=groups_of("eval", pack),
            taxonomy=dataset_file("taxonomy.parquet", pack),
        output:
            files_of(pack, "uses.parquet"),
        log:
            f"<logs>/measure_uses/{stem_of(pack)}.log",
        benchmark:
            f"<benchmarks>/measure_uses/{stem_of(pack)}.tsv"
        wildcard_constraints:
            experiment="|".join(ALONE),
        conda:
            ENVIRONMENT
        resources:
            **(resources_of(workflow, "measure_uses") if pack else {}),
        params:
            spec=uses_spec(),
            code=code_of("measure_uses"),
            results=lambda w, output: RESULTS,
        script:
            "../scripts/measure_uses.py"
