from pathlib import Path

from cladescope.jobs import start_log
from cladescope.summary.costs import tabulate_costs

start_log(snakemake.log[0])
results = Path(snakemake.output[0]).parents[1]
tabulate_costs(results / "benchmarks", snakemake.input.records, snakemake.output[0])
