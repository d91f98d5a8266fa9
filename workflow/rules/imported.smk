"""Dictionaries that other libraries trained."""


rule import_dictionary:
    input:
        imported_files,
    output:
        weights=f"<results>/{layout.DICTIONARY}/sae.safetensors",
        about=f"<results>/{layout.DICTIONARY}/sae.json",
        log=f"<results>/{layout.DICTIONARY}/training.parquet",
    log:
        "<logs>/import_dictionary/<point>.log",
    benchmark:
        "<benchmarks>/import_dictionary/<point>.tsv"
    wildcard_constraints:
        variant=one_of(entry.variant for entry in SWEEP.values() if entry.imported),
    # What cannot be read is known before any extraction.
    priority: EARLY
    conda:
        ENVIRONMENT
    params:
        spec=imported_spec,
        code=importing_code,
    script:
        "../scripts/import_dictionary.py"
