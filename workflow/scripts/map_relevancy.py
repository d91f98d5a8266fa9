import pandas as pd

from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.relevancy.map import Pictures, Reading, RelevancySpec, choose_pairs, map_relevancy
from cladescope.relevancy.objects import read_objects

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    spec = params.spec
    # Of a dictionary whose siblings were made anew nothing has changed.
    for _ in unfinished(params.results, [snakemake.output], [inputs], made_by=[spec, params.code]):
        relevancy = RelevancySpec(**spec["relevancy"])
        latents, nodes = pd.read_parquet(inputs.latents), pd.read_parquet(inputs.nodes)
        index = ImageIndex.load(inputs.index)
        map_relevancy(
            Reading(
                Dictionary.load(inputs.weights),
                load_backbone(BackboneSpec(**spec["backbone"])),
                int(snakemake.wildcards.layer),
                snakemake.wildcards.token,
            ),
            choose_pairs(Codes.load(inputs.codes), latents, nodes, relevancy),
            Pictures(index, open_source(inputs.index), read_objects(dict(inputs.items()), index)),
            relevancy,
            snakemake.output[0],
        )
