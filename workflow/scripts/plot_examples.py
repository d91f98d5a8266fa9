import pandas as pd

from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.examples import plot_examples
from cladescope.summary.relevancy import Maps

with job(snakemake):
    spec = snakemake.params.spec
    index, source = ImageIndex.load(snakemake.input.index), open_source(snakemake.input.index)
    figure = plot_examples(
        Maps.load(snakemake.input.maps),
        pd.read_parquet(snakemake.input.latents),
        pd.read_parquet(snakemake.input.nodes),
        spec["nodes"],
        lambda image: decode_image(source.read_checked(index, image)),
        title=spec["title"],
    )
    save(figure, snakemake.output, spec["dpi"])
