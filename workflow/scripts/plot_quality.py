import pandas as pd

from cladescope.jobs import start_log
from cladescope.summary.figures.quality import plot_quality

start_log(snakemake.log[0])
plot_quality(pd.read_csv(snakemake.input.metrics), snakemake.output, snakemake.params.spec["dpi"])
