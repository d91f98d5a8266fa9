import pandas as pd

from cladescope.activations.store import ActivationStore
from cladescope.codes.encode import ImageBlocks, firing
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.scores.contrasts import Contrasts
from cladescope.scores.pairs import score_pairs

with job(snakemake):
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    contrasts = Contrasts.of(pd.read_parquet(inputs.pairs))
    images = ImageBlocks(ActivationStore.open(inputs.manifest))
    written = [*zip(outputs.pairs, outputs.pair_nodes, strict=True)]
    own = zip(inputs.weights, inputs.about, inputs.latents, inputs.nodes, strict=True)
    read = [(inputs.manifest, inputs.pairs, *files) for files in own]
    for n in unfinished(params.results, written, read, made_by=[params.spec, params.code]):
        dictionary = Dictionary.load(inputs.weights[n])
        scores = score_pairs(
            contrasts,
            pd.read_parquet(inputs.nodes[n]),
            pd.read_parquet(inputs.latents[n]),
            lambda latents, dictionary=dictionary: firing(dictionary, images, latents),
            params.spec["seed"],
        )
        scores.save(*written[n])
