from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.tables import tabulate_skipped

with job(snakemake):
    spec = snakemake.params.spec
    tabulate_skipped(
        dict(zip(spec["splits"], snakemake.input.skipped, strict=True)),
        {
            dataset: read_records(snakemake.input.records[number] for number in numbers)
            for dataset, numbers in spec["records"].items()
        },
        snakemake.output[0],
    )
