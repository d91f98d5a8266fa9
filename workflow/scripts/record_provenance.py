from cladescope.jobs import job
from cladescope.provenance.record import RecordedFiles, record

with job(snakemake):
    inputs, spec = snakemake.input, snakemake.params.spec
    record(
        snakemake.wildcards.experiment,
        spec["plan"],
        spec["code"],
        RecordedFiles(*(inputs[name] for name in RecordedFiles._fields)),
        snakemake.output[0],
    )
