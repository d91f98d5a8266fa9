from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.frontier import plot_frontier
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_frontier(read_csv(snakemake.input.metrics))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
