from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.uses import plot_uses
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_uses(read_csv(snakemake.input.uses))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
