from cladescope.jobs import start_log
from cladescope.scores.recurrence import match_seeds

start_log(snakemake.log[0])
weights = iter(snakemake.input)
match_seeds(
    [{name: next(weights) for name in group} for group in snakemake.params.spec["groups"]],
    snakemake.output[0],
)
