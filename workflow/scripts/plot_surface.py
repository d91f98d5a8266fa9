import pandas as pd

from cladescope.jobs import start_log
from cladescope.summary.figures.surface import plot_surface

start_log(snakemake.log[0])
plot_surface(
    pd.read_csv(snakemake.input.metrics), snakemake.output, dpi=snakemake.params.spec["dpi"]
)
