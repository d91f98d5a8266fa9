import pandas as pd

from cladescope.codes.codes import Codes
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import start_log
from cladescope.summary.figures.top_images import plot_top_images

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
