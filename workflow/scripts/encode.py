from cladescope.dictionary import Dictionary
from cladescope.encoding import encode
from cladescope.files import write_json
from cladescope.jobs import start_log
from cladescope.quality import measure_quality
from cladescope.store import read_activations

start_log(snakemake.log[0])
dictionary = Dictionary.load(snakemake.input.weights)
activations = read_activations(snakemake.input.manifest)[:, 0]
codes = encode(dictionary, activations)
codes.save(snakemake.output.codes)
write_json(snakemake.output.quality, measure_quality(dictionary, codes, activations))
