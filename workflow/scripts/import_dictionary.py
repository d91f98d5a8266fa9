from pathlib import Path

from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.dictionaries.train import save_log
from cladescope.jobs import job

with job(snakemake):
    weights = Path(snakemake.input[-1])
    source = Source(folder=weights.parent, weights=weights.name, **snakemake.params.spec)
    import_dictionary(source, snakemake.output.weights)
    save_log({}, snakemake.output.weights)
