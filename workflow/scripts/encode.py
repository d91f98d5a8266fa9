from cladescope.activations.store import ActivationStore
from cladescope.codes.encode import encode, image_blocks
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import write_json
from cladescope.images.index import ImageIndex
from cladescope.jobs import start_log
from cladescope.machines import machine

start_log(snakemake.log[0])
codes, quality = encode(
    Dictionary.load(snakemake.input.weights),
    image_blocks(ActivationStore.open(snakemake.input.manifest)),
    ImageIndex.load(snakemake.input.index).labels,
)
codes.save(snakemake.output.codes)
write_json(snakemake.output.quality, {**quality, "machine": machine(snakemake.threads)})
