from cladescope.files import write_aside
from cladescope.jobs import job
from cladescope.provenance.record import stamp
from cladescope.summary.architectures import architectures_page, by_depth, first_depths
from cladescope.summary.tables import read_csv, write_csv
from cladescope.summary.trends import ARM

with job(snakemake):
    metrics, nodes, probes = (read_csv(path) for path in snakemake.input)
    layers, output = snakemake.params.spec["layers"], snakemake.output
    depths, firsts = by_depth(metrics, probes, layers), first_depths(nodes, metrics, layers)
    write_csv([stamp(depths, metrics, ARM)], output.depths)
    write_csv([stamp(firsts, metrics, ARM)], output.firsts)
    with write_aside(output.page) as aside:
        aside.write_text(architectures_page(depths, firsts))
