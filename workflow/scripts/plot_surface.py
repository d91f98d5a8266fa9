from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.surface import plot_surface
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_surface(read_csv(snakemake.input.metrics))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
