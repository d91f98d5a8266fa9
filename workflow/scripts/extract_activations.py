from pathlib import Path

from cladescope.activations.extract import ExtractionSpec, extract_activations
from cladescope.backbone.backbone import BackboneSpec
from cladescope.images.index import ImageIndex
from cladescope.images.sources import open_source
from cladescope.jobs import start_log

start_log(snakemake.log[0])
spec = snakemake.params.spec
extract_activations(
    ImageIndex.load(snakemake.input.index),
    open_source(snakemake.input.index),
    BackboneSpec(**spec["backbone"]),
    ExtractionSpec.of(spec["extraction"]),
    manifests={
        (int(Path(path).stem[1:]), Path(path).parent.name): Path(path)
        for path in snakemake.output.manifests
    },
    code=snakemake.params.code,
    threads=snakemake.threads,
)
