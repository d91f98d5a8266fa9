import pandas as pd

from cladescope.jobs import job
from cladescope.provenance.record import read_records
from cladescope.summary.relevancy import summarise
from cladescope.summary.tables import tabulate_summaries

with job(snakemake):
    inputs, spec = snakemake.input, snakemake.params.spec
    draws, seed = spec["draws"], spec["seed"]
    tabulate_summaries(
        spec["dictionaries"],
        (summarise(pd.read_parquet(file), draws, seed) for file in inputs.maps),
        read_records(inputs.records),
        snakemake.output[0],
    )
