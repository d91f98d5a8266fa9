import pandas as pd

from cladescope.jobs import start_log
from cladescope.summary.figures.base import save
from cladescope.summary.figures.scores import plot_scores

start_log(snakemake.log[0])
figure = plot_scores(pd.read_csv(snakemake.input.metrics))
save(figure, snakemake.output, snakemake.params.spec["dpi"])
