from pathlib import Path

from cladescope.codes.codes import Codes
from cladescope.images.groups import load_groups
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.machines import machine
from cladescope.scores.score import score_dictionary
from cladescope.scores.spec import ScoreSpec
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    labels = ImageIndex.load(inputs.index).labels
    groups = load_groups(inputs.groups[0]) if inputs.groups else None
    taxonomy = Taxonomy.load(inputs.taxonomy)
    spec = ScoreSpec.from_config(params.spec)
    written = [*zip(*(files for _, files in outputs.items()), strict=True)]
    shared = (inputs.index, inputs.taxonomy, *inputs.groups)
    read = [(codes, *shared) for codes in inputs.codes]
    for n in unfinished(params.results, written, read, made_by=[params.spec, params.code]):
        codes = Codes.load(inputs.codes[n])
        scores = score_dictionary(codes, labels, taxonomy, spec, groups, snakemake.threads)
        scores.save(Path(outputs.scores[n]).parent, machine(snakemake.threads))
