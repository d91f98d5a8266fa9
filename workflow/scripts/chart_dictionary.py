import pyarrow.parquet as pq

from cladescope.atlas.dictionary import DictionaryPages, PageSpec, crop_of
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import read_json
from cladescope.images.index import ImageIndex
from cladescope.jobs import start_log
from cladescope.taxonomy.taxonomy import Taxonomy

start_log(snakemake.log[0])
inputs = snakemake.input
pages = DictionaryPages(
    Codes.load(inputs.codes),
    ImageIndex.load(inputs.index).labels,
    Taxonomy.load(inputs.taxonomy),
    Dictionary.load(inputs.weights).decoder,
    {name: pq.read_table(inputs[name]) for name in ("latents", "nodes", "relations")},
    PageSpec(**snakemake.params.spec),
)
maps = inputs.get("maps")
crop = crop_of(read_json(inputs.manifest)["made_from"]["preprocessing"]) if maps else None
pages.save(snakemake.output[0], maps, crop)
