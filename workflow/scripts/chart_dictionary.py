from pathlib import Path

import pyarrow.parquet as pq

from cladescope.atlas.causes import Causes, PairTests
from cladescope.atlas.dictionary import DictionaryPages, PageSpec
from cladescope.atlas.places import Places
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    labels = ImageIndex.load(inputs.index).labels
    taxonomy = Taxonomy.load(inputs.taxonomy)
    # What not every dictionary of the job has, by its folder.
    ablations, pair_nodes = (
        {Path(path).parent: path for path in inputs.get(name, [])}
        for name in ("ablations", "pair_nodes")
    )
    tests = PairTests.open(inputs.pairs_manifest, inputs.pairs) if pair_nodes else None
    folders = [Path(path).parent for path in inputs.codes]
    shared = [path for path in inputs if Path(path).parent not in folders]
    read = [(*shared, *(p for p in inputs if Path(p).parent == folder)) for folder in folders]
    written = [[folder] for folder in snakemake.output.pages]
    for n in unfinished(params.results, written, read, made_by=[params.spec, params.code]):
        pages = DictionaryPages(
            Codes.load(inputs.codes[n]),
            labels,
            taxonomy,
            Dictionary.load(inputs.weights[n]),
            {name: pq.read_table(inputs[name][n]) for name in ("latents", "nodes", "relations")},
            PageSpec(**params.spec),
        )
        places = Places.of(dict(inputs.items()), folders[n])
        causes = Causes(ablations.get(folders[n]), tests, pair_nodes.get(folders[n]))
        pages.save(snakemake.output.pages[n], places, causes)
