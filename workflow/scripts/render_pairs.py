from cladescope.jobs import job
from cladescope.planted.pairs import render_pairs
from cladescope.planted.scenes import PlantedSpec
from cladescope.taxonomy.outline import classes_under
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    render_pairs(
        PlantedSpec(seed=snakemake.params.spec["seed"]),
        snakemake.params.spec["scenes_per_class"],
        nodes=classes_under(Taxonomy.load(snakemake.input.taxonomy)),
        folder=snakemake.output.images,
        table_path=snakemake.output.table,
    )
