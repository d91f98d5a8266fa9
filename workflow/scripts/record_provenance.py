from cladescope.jobs import start_log
from cladescope.provenance.record import record

start_log(snakemake.log[0])
inputs, spec = snakemake.input, snakemake.params.spec
record(
    snakemake.wildcards.experiment,
    spec["plan"],
    spec["code"],
    inputs.manifests,
    inputs.taxonomy,
    about=inputs.about,
    quality=inputs.quality,
    scores=inputs.scores,
    lock=inputs.lock,
    path=snakemake.output[0],
)
