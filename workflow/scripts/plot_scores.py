import pandas as pd

from cladescope.figures.scores import plot_scores
from cladescope.jobs import start_log

start_log(snakemake.log[0])
plot_scores(pd.read_csv(snakemake.input.metrics), snakemake.output, snakemake.params.spec["dpi"])
