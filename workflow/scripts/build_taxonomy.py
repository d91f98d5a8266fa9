from pathlib import Path

from cladescope.images.index import ImageIndex, check_shared_images, common_classes
from cladescope.jobs import job
from cladescope.taxonomy.choice import taxonomy_of
from cladescope.taxonomy.outline import check_nodes

with job(snakemake):
    indices = {split: ImageIndex.load(snakemake.input[split]) for split in ("train", "eval")}
    classes = common_classes(indices)
    check_shared_images(*indices.values(), snakemake.params.spec["on_shared_image"])
    wordnet = Path(snakemake.input.wordnet).parents[1]
    taxonomy = taxonomy_of(classes, snakemake.input.table or None, wordnet)
    # Named nodes are mapped hours later.
    check_nodes(taxonomy, snakemake.params.spec.get("nodes", []))
    taxonomy.save(snakemake.output[0])
