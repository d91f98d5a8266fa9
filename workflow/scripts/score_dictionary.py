from pathlib import Path

from cladescope.codes import Codes
from cladescope.images import ImageIndex
from cladescope.jobs import start_log
from cladescope.machines import machine
from cladescope.score_spec import ScoreSpec
from cladescope.scores import score_dictionary
from cladescope.taxonomy import Taxonomy

start_log(snakemake.log[0])
scores = score_dictionary(
    Codes.load(snakemake.input.codes),
    ImageIndex.load(snakemake.input.index).labels,
    Taxonomy.load(snakemake.input.taxonomy),
    ScoreSpec.from_config(snakemake.params.spec),
)
scores.save(Path(snakemake.output.scores).parent, machine(snakemake.threads))
