from pathlib import Path

from cladescope.activations.extract import join_shards
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.layout import whole

with job(snakemake):
    join_shards(
        ImageIndex.load(snakemake.input.index),
        partials={
            Path(manifest): [
                Path(path) for path in snakemake.input.partials if whole(path) == manifest
            ]
            for manifest in snakemake.output
        },
    )
