import pandas as pd

from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.scores import plot_scores

with job(snakemake):
    figure = plot_scores(pd.read_csv(snakemake.input.metrics))
    save(figure, snakemake.output, snakemake.params.spec["dpi"])
