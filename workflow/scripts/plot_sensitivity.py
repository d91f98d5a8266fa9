import pandas as pd

from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.sensitivity import plot_sensitivity

with job(snakemake):
    figure = plot_sensitivity(
        pd.read_csv(snakemake.input.sensitivity), pd.read_csv(snakemake.input.metrics)
    )
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
