import pandas as pd

from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.planted.rendering import masks_by_path
from cladescope.relevancy.map import Pictures, Reading, RelevancySpec, choose_pairs, map_relevancy

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    spec, factors = params.spec, inputs.get("factors")
    # Of a dictionary whose siblings were made anew nothing has changed.
    for _ in unfinished(params.results, [snakemake.output], [inputs], made_by=[spec, params.code]):
        relevancy = RelevancySpec(**spec["relevancy"])
        latents, nodes = pd.read_parquet(inputs.latents), pd.read_parquet(inputs.nodes)
        masks = masks_by_path(factors) if factors else None
        map_relevancy(
            Reading(
                Dictionary.load(inputs.weights),
                load_backbone(BackboneSpec(**spec["backbone"])),
                int(snakemake.wildcards.layer),
                snakemake.wildcards.token,
            ),
            choose_pairs(Codes.load(inputs.codes), latents, nodes, relevancy),
            Pictures(ImageIndex.load(inputs.index), open_source(inputs.index), masks),
            relevancy,
            snakemake.output[0],
        )
