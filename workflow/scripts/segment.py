from cladescope.dictionaries.dictionary import Dictionary
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.segmentation.measure import measure_segmentation
from cladescope.segmentation.prepare import prepare_place

with job(snakemake):
    inputs, params, place = snakemake.input, snakemake.params, None
    masks = inputs.get("masks") or inputs.factors
    shared = (inputs.manifest, inputs.index, inputs.taxonomy, masks, *inputs.groups)
    read = [(*files, *shared) for files in zip(inputs.weights, inputs.about, strict=True)]
    written = [[path] for path in snakemake.output]
    for n in unfinished(params.results, written, read, made_by=[params.spec, params.code]):
        # Once for all dictionaries of the job, and not at all if none is left.
        place = place or prepare_place(dict(inputs.items()), params.spec)
        measure_segmentation(Dictionary.load(inputs.weights[n]), place, snakemake.output[n])
