"""Costs, status, checks and archives of a study: the only room that knows Snakemake and Slurm."""
