import pandas as pd

from cladescope.codes.codes import Codes
from cladescope.images.index import ImageIndex, decode_image
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.top_images import plot_top_images

with job(snakemake):
    spec = snakemake.params.spec
    index, source = ImageIndex.load(snakemake.input.index), open_source(snakemake.input.index)
    figure = plot_top_images(
        Codes.load(snakemake.input.codes),
        pd.read_parquet(snakemake.input.latents),
        lambda image: decode_image(source.read_checked(index, image)),
        title=spec["title"],
    )
    save(figure, snakemake.output, spec["dpi"])
