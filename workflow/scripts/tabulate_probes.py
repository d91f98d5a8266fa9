from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.tables import gather_layers

with job(snakemake):
    made = read_records(snakemake.input.records)
    for kind in ("levels", "nodes"):
        gather_layers(
            snakemake.input[kind], snakemake.params.spec["places"], made, snakemake.output[kind]
        )
