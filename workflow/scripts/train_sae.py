from pathlib import Path

from cladescope.jobs import start_log
from cladescope.training import open_source, train_dictionary
from cladescope.variants.base import FitSpec, Recipe

start_log(snakemake.log[0])
spec = snakemake.params.spec
train_dictionary(
    snakemake.wildcards.variant,
    open_source(snakemake.input.manifest, snakemake.threads),
    FitSpec(**{**spec, "recipe": Recipe(**spec["recipe"]) if spec["recipe"] else None}),
    weights=snakemake.output.weights,
    log=snakemake.output.log,
    made_from=[Path(snakemake.input.manifest).read_text(), snakemake.params.code],
    threads=snakemake.threads,
)
