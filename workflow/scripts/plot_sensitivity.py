from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.sensitivity import plot_sensitivity
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_sensitivity(
        read_csv(snakemake.input.sensitivity), read_csv(snakemake.input.metrics)
    )
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
