from cladescope.jobs import job
from cladescope.scores.recurrence import match_seeds

with job(snakemake):
    weights = iter(snakemake.input.weights)
    match_seeds(
        [{name: next(weights) for name in group} for group in snakemake.params.spec["groups"]],
        snakemake.output[0],
    )
