from pathlib import Path

import pyarrow.parquet as pq

from cladescope.atlas.dictionary import DictionaryPages, PageSpec, crop_of
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import read_json
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    labels = ImageIndex.load(inputs.index).labels
    taxonomy = Taxonomy.load(inputs.taxonomy)
    maps = {Path(path).parent: path for path in inputs.get("maps", [])}
    crop = crop_of(read_json(inputs.manifest)["made_from"]["preprocessing"]) if maps else None
    own = ("codes", "latents", "nodes", "relations", "weights", "about")
    shared = (inputs.index, inputs.taxonomy, *([inputs.manifest] if maps else []))
    read = [
        (*shared, *files, *filter(None, [maps.get(Path(files[0]).parent)]))
        for files in zip(*(inputs[name] for name in own), strict=True)
    ]
    written = [[folder] for folder in snakemake.output.pages]
    for n in unfinished(params.results, written, read, made_by=[params.spec, params.code]):
        pages = DictionaryPages(
            Codes.load(inputs.codes[n]),
            labels,
            taxonomy,
            Dictionary.load(inputs.weights[n]).decoder,
            {name: pq.read_table(inputs[name][n]) for name in ("latents", "nodes", "relations")},
            PageSpec(**params.spec),
        )
        pages.save(snakemake.output.pages[n], maps.get(Path(inputs.codes[n]).parent), crop)
