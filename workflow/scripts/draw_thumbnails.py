from cladescope.atlas.thumbnails import draw_thumbnails
from cladescope.images import ImageIndex
from cladescope.jobs import start_log
from cladescope.sources import open_source

start_log(snakemake.log[0])
index = snakemake.input.index
draw_thumbnails(
    ImageIndex.load(index),
    open_source(index),
    snakemake.params.spec["side"],
    snakemake.output[0],
)
