from pathlib import Path

from cladescope.images.index import ImageIndex, check_shared_images, common_classes
from cladescope.jobs import job
from cladescope.taxonomy.outline import check_nodes
from cladescope.taxonomy.table import read_taxonomy_table
from cladescope.taxonomy.wordnet import build_taxonomy

with job(snakemake):
    indices = {split: ImageIndex.load(snakemake.input[split]) for split in ("train", "eval")}
    classes = common_classes(indices)
    check_shared_images(*indices.values(), snakemake.params.spec["on_shared_image"])
    if snakemake.input.table:
        taxonomy = read_taxonomy_table(snakemake.input.table, classes)
    else:
        taxonomy = build_taxonomy(classes, Path(snakemake.input.wordnet).parents[1])
    # Named nodes are mapped hours later.
    check_nodes(taxonomy, snakemake.params.spec.get("nodes", []))
    taxonomy.save(snakemake.output[0])
