from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.quality import plot_quality
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_quality(read_csv(snakemake.input.metrics))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
