from pathlib import Path

from cladescope.jobs import start_log
from cladescope.planted.training import TrainingSpec, train_planted_backbone

start_log(snakemake.log[0])
train_planted_backbone(
    Path(snakemake.input.train),
    Path(snakemake.input.eval),
    TrainingSpec(seed=int(snakemake.wildcards.seed)),
    checkpoint=Path(snakemake.output.weights),
    sidecar=Path(snakemake.output.sidecar),
    threads=snakemake.threads,
)
