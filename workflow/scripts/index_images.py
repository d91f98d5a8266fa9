from pathlib import Path

from cladescope.images import index_images
from cladescope.jobs import start_log

start_log(snakemake.log[0])
index = index_images(snakemake.input.folder, snakemake.threads)
index.save(Path(snakemake.output[0]))
