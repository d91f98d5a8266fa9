import pandas as pd

from cladescope.codes import Codes
from cladescope.figures.top_images import plot_top_images
from cladescope.images import ImageIndex
from cladescope.jobs import start_log
from cladescope.sources import open_source

start_log(snakemake.log[0])
spec = snakemake.params.spec
plot_top_images(
    Codes.load(snakemake.input.codes),
    pd.read_parquet(snakemake.input.latents),
    ImageIndex.load(snakemake.input.index),
    open_source(snakemake.input.index),
    title=spec["title"],
    paths=snakemake.output,
    dpi=spec["dpi"],
)
