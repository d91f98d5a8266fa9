from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.relevancy import tabulate_relevancy

with job(snakemake):
    spec = snakemake.params.spec
    tabulate_relevancy(
        spec["dictionaries"],
        snakemake.input.maps,
        spec["draws"],
        spec["seed"],
        read_records(snakemake.input.records),
        snakemake.output[0],
    )
