from cladescope.codes.codes import Codes
from cladescope.images.groups import load_groups
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.uses.measure import Place, UsesSpec, measure_uses
from cladescope.uses.rows import activation_rows

with job(snakemake):
    inputs, params, place = snakemake.input, snakemake.params, None
    shared = (inputs.manifest, inputs.index, inputs.taxonomy, *inputs.groups)
    read = [(codes, *shared) for codes in inputs.codes]
    written = [[path] for path in snakemake.output]
    for n in unfinished(params.results, written, read, made_by=[params.spec, params.code]):
        # Once for all dictionaries of the job, and not at all if none is left.
        place = place or Place(
            activation_rows(inputs.manifest),
            ImageIndex.load(inputs.index).labels,
            load_groups(inputs.groups[0]) if inputs.groups else None,
            Taxonomy.load(inputs.taxonomy),
            UsesSpec(**params.spec),
        )
        measure_uses(Codes.load(inputs.codes[n]), place, snakemake.output[n])
