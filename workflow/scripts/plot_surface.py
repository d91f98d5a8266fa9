import pandas as pd

from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.surface import plot_surface

with job(snakemake):
    figure = plot_surface(pd.read_csv(snakemake.input.metrics))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
