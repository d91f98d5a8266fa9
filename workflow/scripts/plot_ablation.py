from cladescope.jobs import job
from cladescope.summary.figures.ablation import plot_ablation
from cladescope.summary.figures.base import save
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_ablation(read_csv(snakemake.input.ablation))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
