from pathlib import Path

from cladescope.jobs import start_log
from cladescope.planted.rendering import PlantedSpec, render_split

start_log(snakemake.log[0])
render_split(
    PlantedSpec(seed=snakemake.params.spec["seed"]),
    snakemake.wildcards.split,
    snakemake.params.spec["images_per_class"],
    folder=Path(snakemake.output.images),
    factors_path=Path(snakemake.output.factors),
    workers=snakemake.threads,
)
