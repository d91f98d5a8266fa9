import pandas as pd

from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.planted.rendering import masks_by_path
from cladescope.relevancy.map import RelevancySpec, map_relevancy

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    spec, factors = params.spec, inputs.get("factors")
    # Of a dictionary whose siblings were made anew nothing has changed.
    for _ in unfinished(params.results, [snakemake.output], [inputs], made_by=[spec, params.code]):
        map_relevancy(
            Dictionary.load(inputs.weights),
            Codes.load(inputs.codes),
            pd.read_parquet(inputs.latents),
            pd.read_parquet(inputs.nodes),
            ImageIndex.load(inputs.index),
            open_source(inputs.index),
            load_backbone(BackboneSpec(**spec["backbone"])),
            place=(int(snakemake.wildcards.layer), snakemake.wildcards.token),
            spec=RelevancySpec(**spec["relevancy"]),
            path=snakemake.output[0],
            masks=masks_by_path(factors) if factors else None,
        )
