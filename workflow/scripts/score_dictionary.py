from pathlib import Path

from cladescope.codes.codes import Codes
from cladescope.images.index import ImageIndex
from cladescope.jobs import start_log
from cladescope.machines import machine
from cladescope.scores.score import score_dictionary
from cladescope.scores.spec import ScoreSpec
from cladescope.taxonomy.taxonomy import Taxonomy

start_log(snakemake.log[0])
scores = score_dictionary(
    Codes.load(snakemake.input.codes),
    ImageIndex.load(snakemake.input.index).labels,
    Taxonomy.load(snakemake.input.taxonomy),
    ScoreSpec.from_config(snakemake.params.spec),
)
scores.save(Path(snakemake.output.scores).parent, machine(snakemake.threads))
