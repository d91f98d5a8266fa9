import pandas as pd

from cladescope.jobs import start_log
from cladescope.summary.figures.base import save
from cladescope.summary.figures.quality import plot_quality

start_log(snakemake.log[0])
figure = plot_quality(pd.read_csv(snakemake.input.metrics))
save(figure, snakemake.output, snakemake.params.spec["dpi"])
