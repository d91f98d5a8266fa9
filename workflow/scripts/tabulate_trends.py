from cladescope.jobs import job
from cladescope.provenance.record import stamp
from cladescope.summary.tables import read_csv, write_csv
from cladescope.summary.trends import (
    ARM,
    KIND,
    across_layers,
    between_kinds,
    by_library,
    over_depth,
    over_seeds,
    over_start,
)

with job(snakemake):
    metrics = read_csv(snakemake.input.metrics)
    output, kinds = snakemake.output, by_library(across_layers(metrics))
    seeds, trends, comparisons = (
        over_seeds(metrics),
        over_depth(kinds, **snakemake.params.spec),
        between_kinds(metrics),
    )
    gains = over_start(metrics)
    write_csv([stamp(gains, metrics, [*ARM, "layer", *KIND])], output.gains)
    write_csv([stamp(seeds, metrics, [*ARM, "layer", *KIND])], output.seeds)
    write_csv([stamp(trends, kinds, [*ARM, *KIND])], output.trends)
    write_csv([stamp(comparisons, metrics, [*ARM, "layer"])], output.comparisons)
