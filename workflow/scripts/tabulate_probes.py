from cladescope.jobs import start_log
from cladescope.tables import gather

start_log(snakemake.log[0])
places = snakemake.params.spec["places"]
for kind in ("levels", "nodes"):
    gather(dict(zip(snakemake.input[kind], places, strict=True)), snakemake.output[kind])
