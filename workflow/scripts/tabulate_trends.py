from cladescope.jobs import job
from cladescope.provenance.record import stamp
from cladescope.summary.tables import read_csv, write_csv
from cladescope.summary.trends import ARM, KIND, between_kinds, over_depth, over_seeds

with job(snakemake):
    metrics = read_csv(snakemake.input.metrics)
    output, level = snakemake.output, snakemake.params.spec["level"]
    seeds, trends, comparisons = (
        over_seeds(metrics),
        over_depth(metrics, level),
        between_kinds(metrics),
    )
    write_csv([stamp(seeds, metrics, [*ARM, "layer", *KIND])], output.seeds)
    write_csv([stamp(trends, metrics, [*ARM, *KIND])], output.trends)
    write_csv([stamp(comparisons, metrics, [*ARM, "layer"])], output.comparisons)
