from cladescope.activations.store import read_activations
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.scores.probes import ProbeSpec, Split, probe_layer
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    train, test = (
        Split(read_activations(manifest).mean(1), ImageIndex.load(index).labels)
        for manifest, index in (
            (snakemake.input.train, snakemake.input.train_index),
            (snakemake.input.eval, snakemake.input.eval_index),
        )
    )
    probe_layer(
        train,
        test,
        Taxonomy.load(snakemake.input.taxonomy),
        ProbeSpec(**snakemake.params.spec),
        levels=snakemake.output.levels,
        nodes=snakemake.output.nodes,
    )
