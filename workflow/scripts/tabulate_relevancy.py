from cladescope.jobs import start_log
from cladescope.relevancy_table import tabulate_relevancy

start_log(snakemake.log[0])
spec = snakemake.params.spec
tabulate_relevancy(
    spec["dictionaries"],
    snakemake.input,
    spec["draws"],
    spec["seed"],
    snakemake.output[0],
)
