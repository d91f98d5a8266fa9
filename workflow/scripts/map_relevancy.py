import pandas as pd

from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import start_log
from cladescope.planted.rendering import masks_by_path
from cladescope.relevancy.map import RelevancySpec, map_relevancy

start_log(snakemake.log[0])
spec = snakemake.params.spec
factors = snakemake.input.get("factors")
map_relevancy(
    Dictionary.load(snakemake.input.weights),
    Codes.load(snakemake.input.codes),
    pd.read_parquet(snakemake.input.latents),
    pd.read_parquet(snakemake.input.nodes),
    ImageIndex.load(snakemake.input.index),
    open_source(snakemake.input.index),
    load_backbone(BackboneSpec(**spec["backbone"])),
    place=(int(snakemake.wildcards.layer), snakemake.wildcards.token),
    spec=RelevancySpec(**spec["relevancy"]),
    path=snakemake.output[0],
    masks=masks_by_path(factors) if factors else None,
)
