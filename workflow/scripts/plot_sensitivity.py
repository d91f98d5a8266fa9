import pandas as pd

from cladescope.figures.sensitivity import plot_sensitivity
from cladescope.jobs import start_log

start_log(snakemake.log[0])
plot_sensitivity(
    pd.read_csv(snakemake.input.sensitivity),
    pd.read_csv(snakemake.input.metrics),
    snakemake.output,
    snakemake.params.spec["dpi"],
)
