rule tabulate_costs:
    input:
        # Everything that costs something must have been made.
        final_output(),
        records=RECORDS.values(),
    output:
        COSTS,
    log:
        "<logs>/tabulate_costs.log",
    conda:
        ENVIRONMENT
    params:
        code=code_of("tabulate_costs"),
    script:
        "../scripts/tabulate_costs.py"
