from pathlib import Path

from cladescope.activations import extract_activations
from cladescope.backbone import BackboneSpec
from cladescope.images import ImageIndex
from cladescope.jobs import start_log

start_log(snakemake.log[0])
spec = snakemake.params.spec
extract_activations(
    ImageIndex.load(snakemake.input.index),
    Path(spec["folder"]),
    BackboneSpec(**spec["backbone"]),
    manifests={int(Path(path).stem[1:]): Path(path) for path in snakemake.output.manifests},
    n_shards=spec["shards"],
    precision=spec["precision"],
    batch_size=spec["batch_size"],
    threads=snakemake.threads,
)
