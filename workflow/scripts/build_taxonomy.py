from pathlib import Path

from cladescope.images import ImageIndex, common_classes
from cladescope.jobs import start_log
from cladescope.taxonomy import build_taxonomy

start_log(snakemake.log[0])
wnids = common_classes(
    {split: ImageIndex.load(snakemake.input[split]) for split in ("train", "eval")}
)
build_taxonomy(wnids, Path(snakemake.input.wordnet).parents[1]).save(snakemake.output[0])
