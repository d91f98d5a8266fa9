from pathlib import Path

from cladescope.jobs import job
from cladescope.planted.training import TrainingSpec, train_planted_backbone

with job(snakemake):
    train_planted_backbone(
        Path(snakemake.input.train),
        Path(snakemake.input.eval),
        TrainingSpec(seed=int(snakemake.wildcards.seed)),
        checkpoint=Path(snakemake.output.weights),
        sidecar=Path(snakemake.output.sidecar),
        threads=snakemake.threads,
    )
