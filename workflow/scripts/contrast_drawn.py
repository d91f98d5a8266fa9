import pandas as pd

from cladescope.jobs import start_log
from cladescope.planted_contrast import contrast_drawn
from cladescope.tables import write_csv

start_log(snakemake.log[0])
table = contrast_drawn(
    *(pd.read_csv(snakemake.input[name]) for name in ("nodes", "metrics", "drawn"))
)
write_csv([table], snakemake.output[0])
