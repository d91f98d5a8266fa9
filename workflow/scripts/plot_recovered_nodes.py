from cladescope.jobs import job
from cladescope.summary.figures.base import save
from cladescope.summary.figures.recovered_nodes import plot_recovered_nodes
from cladescope.summary.tables import read_csv
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    spec, drawn = snakemake.params.spec, snakemake.input.get("drawn")
    figure = plot_recovered_nodes(
        read_csv(snakemake.input.nodes),
        read_csv(snakemake.input.metrics),
        Taxonomy.load(snakemake.input.taxonomy),
        spec["dataset"],
        read_csv(drawn).query("not drawn")["wnid"].tolist() if drawn else [],
    )
    save(figure, snakemake.output, spec["dpi"])
