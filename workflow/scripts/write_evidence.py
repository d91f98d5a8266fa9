from cladescope.files import write_aside
from cladescope.jobs import job
from cladescope.summary.evidence import Evidence, evidence_page
from cladescope.summary.tables import read_csv

with job(snakemake):
    tables = {name: read_csv(path) for name, path in snakemake.input.items()}
    with write_aside(snakemake.output[0]) as aside:
        aside.write_text(evidence_page(Evidence(**tables)))
