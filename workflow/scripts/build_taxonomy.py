from pathlib import Path

from cladescope.images.index import ImageIndex, common_classes
from cladescope.jobs import start_log
from cladescope.taxonomy.table import read_taxonomy_table
from cladescope.taxonomy.wordnet import build_taxonomy

start_log(snakemake.log[0])
classes = common_classes(
    {split: ImageIndex.load(snakemake.input[split]) for split in ("train", "eval")}
)
if snakemake.input.table:
    taxonomy = read_taxonomy_table(snakemake.input.table, classes)
else:
    taxonomy = build_taxonomy(classes, Path(snakemake.input.wordnet).parents[1])
taxonomy.save(snakemake.output[0])
