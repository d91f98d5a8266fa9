from pathlib import Path

from cladescope.jobs import job
from cladescope.planted.recipes import recipe_of
from cladescope.planted.training import train_planted_backbone

with job(snakemake):
    train_planted_backbone(
        Path(snakemake.input.train),
        Path(snakemake.input.eval),
        recipe_of(snakemake.wildcards.recipe, int(snakemake.wildcards.seed)),
        checkpoint=Path(snakemake.output.weights),
        sidecar=Path(snakemake.output.sidecar),
        threads=snakemake.threads,
    )
