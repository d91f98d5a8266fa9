import pandas as pd

from cladescope.jobs import start_log
from cladescope.tables import write_csv
from cladescope.trends import between_kinds, over_depth, over_seeds

start_log(snakemake.log[0])
metrics = pd.read_csv(snakemake.input.metrics)
write_csv([over_seeds(metrics)], snakemake.output.seeds)
write_csv([over_depth(metrics, snakemake.params.spec["level"])], snakemake.output.trends)
write_csv([between_kinds(metrics)], snakemake.output.comparisons)
