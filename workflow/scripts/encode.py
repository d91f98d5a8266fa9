from cladescope.activations.store import ActivationStore
from cladescope.codes.encode import ImageBlocks, encode
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import write_json
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.machines import has_gpu, machine

with job(snakemake):
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    labels = ImageIndex.load(inputs.index).labels
    images = ImageBlocks(ActivationStore.open(inputs.manifest))
    written = [*zip(outputs.codes, outputs.quality, strict=True)]
    read = [
        (inputs.manifest, inputs.index, *own)
        for own in zip(inputs.weights, inputs.about, strict=True)
    ]
    for n in unfinished(params.results, written, read, made_by=params.code):
        codes, quality = encode(Dictionary.load(inputs.weights[n]), images, labels)
        codes.save(outputs.codes[n])
        write_json(
            outputs.quality[n], {**quality, "machine": machine(snakemake.threads, has_gpu())}
        )
