from cladescope.activations.store import read_activations
from cladescope.images.groups import load_groups
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.scores.probes import ProbeSpec, Split, probe_layer
from cladescope.taxonomy.taxonomy import Taxonomy

with job(snakemake):
    inputs = snakemake.input
    groups = load_groups(inputs.train_groups[0]) if inputs.train_groups else None
    train, test = (
        Split(read_activations(manifest).mean(1), ImageIndex.load(index).labels, of_images)
        for manifest, index, of_images in (
            (inputs.train, inputs.train_index, groups),
            (inputs.eval, inputs.eval_index, None),
        )
    )
    probe_layer(
        train,
        test,
        Taxonomy.load(inputs.taxonomy),
        ProbeSpec(**snakemake.params.spec),
        levels=snakemake.output.levels,
        nodes=snakemake.output.nodes,
    )
