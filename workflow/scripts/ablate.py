from pathlib import Path

from cladescope.backbone.backbone import BackboneSpec
from cladescope.causes.ablate import AblationSpec, ablate
from cladescope.causes.model import HalvesSpec, Stores, World, prepare_model
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.groups import load_groups
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    spec, model = params.spec, None
    world = World(
        ImageIndex.load(inputs.index),
        open_source(inputs.index),
        Taxonomy.load(inputs.taxonomy),
        HalvesSpec(**spec["halves"]),
        load_groups(inputs.groups[0]) if inputs.groups else None,
    )
    own = (inputs.codes, inputs.weights, inputs.about)
    shared = [path for path in inputs if path not in {path for files in own for path in files}]
    read = [(*files, *shared) for files in zip(*own, strict=True)]
    written = [[path] for path in snakemake.output]
    for n in unfinished(params.results, written, read, made_by=[spec, params.code]):
        # Once for all dictionaries of the job, and not at all if none is left.
        model = model or prepare_model(
            BackboneSpec(**spec["backbone"]),
            tuple(spec["place"]),
            world,
            Stores(tuple(inputs.here), tuple(inputs.deepest), inputs.train_index),
            Path(inputs.wordnet).parents[1],
        )
        dictionary, codes = Dictionary.load(inputs.weights[n]), Codes.load(inputs.codes[n])
        options = AblationSpec(**spec["ablation"])
        ablate(dictionary, codes, world, model, options, snakemake.output[n])
