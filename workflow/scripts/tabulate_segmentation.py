from cladescope.about import read_about
from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.segmentation import summarise
from cladescope.summary.tables import tabulate_summaries

with job(snakemake):
    inputs, spec = snakemake.input, snakemake.params.spec
    draws, seed = spec["draws"], spec["seed"]
    tabulate_summaries(
        spec["dictionaries"],
        (summarise(*read_about(file), draws, seed) for file in inputs.segmentation),
        read_records(inputs.records),
        snakemake.output[0],
    )
