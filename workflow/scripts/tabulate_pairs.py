from cladescope.jobs import job
from cladescope.provenance.record import digest_files, read_records
from cladescope.summary.tables import tabulate_rows

with job(snakemake):
    inputs = snakemake.input
    made = read_records(inputs.records)
    sweep = [
        {**identity, "pairs_sha256": digest_files(inputs[f"of_{identity['dataset']}"])}
        for identity in snakemake.params.spec["sweep"]
    ]
    for name, path in snakemake.output.items():
        tabulate_rows(sweep, inputs[name], made, path)
