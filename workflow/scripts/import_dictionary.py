from pathlib import Path

from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.dictionaries.train import save_log
from cladescope.jobs import job

with job(snakemake):
    folder = Path(snakemake.input[0]).parent
    import_dictionary(snakemake.params.spec, folder, snakemake.output.weights)
    save_log({}, snakemake.output.weights)
