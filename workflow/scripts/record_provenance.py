from cladescope.jobs import job
from cladescope.provenance.record import record

with job(snakemake):
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
