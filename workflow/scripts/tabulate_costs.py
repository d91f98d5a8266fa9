from pathlib import Path

from cladescope.jobs import job
from cladescope.summary.costs import tabulate_costs

with job(snakemake):
    results = Path(snakemake.output[0]).parents[1]
    tabulate_costs(results / "benchmarks", snakemake.input.records, snakemake.output[0])
