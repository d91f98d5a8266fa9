import pandas as pd

from cladescope.jobs import start_log
from cladescope.summary.figures.base import save
from cladescope.summary.figures.surface import plot_surface

start_log(snakemake.log[0])
figure = plot_surface(pd.read_csv(snakemake.input.metrics))
save(figure, snakemake.output, snakemake.params.spec["dpi"])
