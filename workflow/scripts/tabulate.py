from cladescope.jobs import start_log
from cladescope.tables import tabulate

start_log(snakemake.log[0])
tabulate(
    snakemake.params.spec["sweep"],
    scores=snakemake.input.scores,
    quality=snakemake.input.quality,
    latents=snakemake.input.latents,
    nodes=snakemake.input.nodes,
    metrics_table=snakemake.output.metrics,
    latents_table=snakemake.output.latents,
    nodes_table=snakemake.output.nodes,
)
