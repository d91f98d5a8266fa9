from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.tables import tabulate_rows

with job(snakemake):
    made = read_records(snakemake.input.records)
    for name, path in snakemake.output.items():
        tabulate_rows(snakemake.params.spec["sweep"], snakemake.input[name], made, path)
