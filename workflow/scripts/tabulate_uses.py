from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.uses import tabulate_uses

with job(snakemake):
    spec = snakemake.params.spec
    tabulate_uses(
        spec["dictionaries"],
        snakemake.input.uses,
        spec["draws"],
        spec["seed"],
        read_records(snakemake.input.records),
        snakemake.output[0],
    )
