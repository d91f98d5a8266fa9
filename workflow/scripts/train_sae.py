from pathlib import Path

from cladescope.dictionaries.train import open_source, train_dictionaries
from cladescope.dictionaries.training.base import Recipe
from cladescope.jobs import start_log
from cladescope.sweep import DictionarySpec

start_log(snakemake.log[0])
recipe = snakemake.params.spec["recipe"]
# One, or the dictionaries of a pack.
weights = snakemake.output[: len(snakemake.output) // 3]
train_dictionaries(
    {Path(path): DictionarySpec.of("/".join(Path(path).parts[-7:-1])) for path in weights},
    open_source(snakemake.input.manifest, snakemake.threads),
    Recipe(**recipe) if recipe else None,
    made_from=[Path(snakemake.input.manifest).read_text(), snakemake.params.code],
    threads=snakemake.threads,
)
