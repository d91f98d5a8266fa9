from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.scores import plot_scores
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_scores(read_csv(snakemake.input.metrics), read_csv(snakemake.input.probes))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
