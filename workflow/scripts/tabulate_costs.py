from cladescope.costs import tabulate_costs
from cladescope.jobs import start_log

start_log(snakemake.log[0])
tabulate_costs(snakemake.params.benchmarks, snakemake.input.records, snakemake.output[0])
