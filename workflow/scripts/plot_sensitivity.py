import pandas as pd

from cladescope.jobs import start_log
from cladescope.summary.figures.base import save
from cladescope.summary.figures.sensitivity import plot_sensitivity

start_log(snakemake.log[0])
figure = plot_sensitivity(
    pd.read_csv(snakemake.input.sensitivity), pd.read_csv(snakemake.input.metrics)
)
save(figure, snakemake.output, snakemake.params.spec["dpi"])
