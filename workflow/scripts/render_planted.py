from pathlib import Path

from cladescope.jobs import job
from cladescope.planted.rendering import PlantedSpec, render_split

with job(snakemake):
    render_split(
        PlantedSpec(seed=snakemake.params.spec["seed"]),
        snakemake.wildcards.split,
        snakemake.params.spec["images_per_class"],
        folder=Path(snakemake.output.images),
        factors_path=Path(snakemake.output.factors),
        workers=snakemake.threads,
    )
