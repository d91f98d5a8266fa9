from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.segmentation import plot_segmentation
from cladescope.summary.tables import read_csv

with job(snakemake):
    figure = plot_segmentation(read_csv(snakemake.input.segmentation))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
