from cladescope.jobs import start_log
from cladescope.store import read_activations
from cladescope.training import train_dictionary
from cladescope.variants.base import FitSpec, Recipe

start_log(snakemake.log[0])
spec = snakemake.params.spec
train_dictionary(
    snakemake.wildcards.variant,
    read_activations(snakemake.input.manifest)[:, 0],
    FitSpec(**{**spec, "recipe": Recipe(**spec["recipe"]) if spec["recipe"] else None}),
    weights=snakemake.output.weights,
    log=snakemake.output.log,
)
