"""What a person asks of a study, before, during and after it; alone knows Snakemake and Slurm."""
