from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.by_size import plot_by_size
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_by_size(read_csv(snakemake.input.metrics), read_csv(snakemake.input.sizes))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
