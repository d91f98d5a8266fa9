from cladescope.jobs import start_log
from cladescope.provenance import read_records
from cladescope.relevancy_table import tabulate_relevancy

start_log(snakemake.log[0])
spec = snakemake.params.spec
tabulate_relevancy(
    spec["dictionaries"],
    snakemake.input.maps,
    spec["draws"],
    spec["seed"],
    read_records(snakemake.input.records),
    snakemake.output[0],
)
