from cladescope.jobs import job
from cladescope.provenance.record import stamp
from cladescope.summary.drawn import ARM, contrast_drawn
from cladescope.summary.tables import read_csv, write_csv

with job(snakemake):
    nodes, metrics, drawn = (
        read_csv(snakemake.input[name]) for name in ("nodes", "metrics", "drawn")
    )
    write_csv([stamp(contrast_drawn(nodes, metrics, drawn), metrics, ARM)], snakemake.output[0])
