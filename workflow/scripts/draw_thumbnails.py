from cladescope.atlas.thumbnails import draw_thumbnails
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import job

with job(snakemake):
    index = snakemake.input.index
    draw_thumbnails(
        ImageIndex.load(index),
        open_source(index),
        snakemake.params.spec["side"],
        snakemake.output[0],
    )
