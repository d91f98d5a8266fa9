from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.ablation import tabulate_ablation

with job(snakemake):
    spec = snakemake.params.spec
    tabulate_ablation(
        spec["dictionaries"],
        snakemake.input.ablations,
        spec["draws"],
        spec["seed"],
        read_records(snakemake.input.records),
        snakemake.output[0],
    )
