from pathlib import Path

from cladescope.activations.extract import extract_activations
from cladescope.activations.spec import Extraction, ExtractionSpec
from cladescope.backbone.backbone import BackboneSpec
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import job
from cladescope.layout import place_of

with job(snakemake):
    spec = snakemake.params.spec
    extraction = Extraction(
        ImageIndex.load(snakemake.input.index),
        open_source(snakemake.input.index),
        BackboneSpec(**spec["backbone"]),
        ExtractionSpec.of(spec["extraction"]),
        code=snakemake.params.code,
        threads=snakemake.threads,
    )
    extract_activations(
        extraction,
        manifests={place_of(path): Path(path) for path in snakemake.output.manifests},
    )
