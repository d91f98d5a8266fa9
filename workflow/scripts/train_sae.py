from pathlib import Path

from cladescope.jobs import start_log
from cladescope.store import read_activations
from cladescope.training import train_dictionary
from cladescope.variants.base import FitSpec, Recipe
from cladescope.variants.batches import InMemory

start_log(snakemake.log[0])
spec = snakemake.params.spec
train_dictionary(
    snakemake.wildcards.variant,
    InMemory(read_activations(snakemake.input.manifest)),
    FitSpec(**{**spec, "recipe": Recipe(**spec["recipe"]) if spec["recipe"] else None}),
    weights=snakemake.output.weights,
    log=snakemake.output.log,
    made_from=[Path(snakemake.input.manifest).read_text(), snakemake.params.code],
    threads=snakemake.threads,
)
