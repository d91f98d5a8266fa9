from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.pairs import plot_pairs
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_pairs(read_csv(snakemake.input.pairs))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
