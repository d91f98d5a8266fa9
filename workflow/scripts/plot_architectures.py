from cladescope.jobs import job
from cladescope.summary.figures.architectures import plot_architectures
from cladescope.summary.figures.base import save
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_architectures(read_csv(snakemake.input.depths), read_csv(snakemake.input.firsts))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
