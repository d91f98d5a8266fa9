from cladescope.jobs import start_log
from cladescope.tables import tabulate_skipped

start_log(snakemake.log[0])
tabulate_skipped(
    dict(zip(snakemake.params.spec["splits"], snakemake.input, strict=True)), snakemake.output[0]
)
