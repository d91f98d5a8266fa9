from cladescope.images.groups import group_images
from cladescope.images.index import ImageIndex
from cladescope.jobs import job

with job(snakemake):
    group_images(
        ImageIndex.load(snakemake.input.index),
        snakemake.input.labels,
        snakemake.params.spec["column"],
        snakemake.output[0],
    )
