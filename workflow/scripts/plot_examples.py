import pandas as pd

from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import start_log
from cladescope.summary.figures.examples import plot_examples
from cladescope.summary.relevancy import load_maps

start_log(snakemake.log[0])
spec = snakemake.params.spec
maps, grid = load_maps(snakemake.input.maps)
plot_examples(
    maps,
    grid,
    pd.read_parquet(snakemake.input.latents),
    pd.read_parquet(snakemake.input.nodes),
    spec["nodes"],
    ImageIndex.load(snakemake.input.index),
    open_source(snakemake.input.index),
    title=spec["title"],
    paths=snakemake.output,
    dpi=spec["dpi"],
)
