from pathlib import Path

from cladescope.images.index import ImageIndex
from cladescope.images.masks import index_masks, read_mask_table, save_masks
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.taxonomy.choice import taxonomy_of
from cladescope.taxonomy.loose import with_loose

with job(snakemake):
    inputs, outputs = snakemake.input, snakemake.output
    table = read_mask_table(inputs.table, own_ids=bool(inputs.taxonomy))
    taxonomy = None
    if table.wnids:
        wordnet = Path(inputs.wordnet).parents[1]
        taxonomy = taxonomy_of(table.wnids, inputs.taxonomy or None, wordnet)
    with_loose(taxonomy, table.loose).save(outputs.taxonomy)
    index, source = ImageIndex.load(inputs.index), open_source(inputs.index)
    masks = index_masks(index, source, inputs.folder, table.classes, snakemake.threads)
    save_masks(masks, table.classes, inputs.folder, outputs.masks)
