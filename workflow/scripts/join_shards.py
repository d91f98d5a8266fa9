from pathlib import Path

from cladescope.activations.extract import join_shards
from cladescope.images.index import ImageIndex
from cladescope.jobs import start_log
from cladescope.layout import whole

start_log(snakemake.log[0])
join_shards(
    ImageIndex.load(snakemake.input.index),
    partials={
        Path(manifest): [Path(path) for path in snakemake.input.partials if whole(path) == manifest]
        for manifest in snakemake.output
    },
)
