from cladescope.activations.spec import PatchSample
from cladescope.activations.store import ActivationStore
from cladescope.backbone.backbone import BackboneSpec
from cladescope.backbone.layers import list_layers
from cladescope.codes.encode import ImageBlocks
from cladescope.codes.positions import PositionsSpec, keep_positions
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.files import read_json
from cladescope.images.index import ImageIndex
from cladescope.jobs import job
from cladescope.kept import unfinished
from cladescope.relevancy.faithfulness import grid_of

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    spec, store = params.spec, ActivationStore.open(inputs.manifest)
    backbone = BackboneSpec(**spec["backbone"])
    layers = list_layers(backbone.model, backbone.image_size, backbone.modules)
    n_patches = layers[spec["layer"] - 1].tokens["patches"]
    preprocessing = read_json(inputs.manifest)["made_from"]["preprocessing"]
    grid = grid_of(n_patches, *preprocessing["input_size"][1:])
    images = PositionsSpec(**spec["positions"]).chosen(ImageIndex.load(inputs.index).labels)
    stored = None
    if "patches" in spec:
        sample = PatchSample(**spec["patches"])
        stored = sample.positions(range(store.shape[0]), n_patches)[images]
    blocks, written = ImageBlocks(store, images), [[path] for path in snakemake.output]
    read = [
        (inputs.manifest, inputs.index, *own)
        for own in zip(inputs.weights, inputs.about, strict=True)
    ]
    for n in unfinished(params.results, written, read, made_by=[spec, params.code]):
        dictionary = Dictionary.load(inputs.weights[n])
        keep_positions(dictionary, blocks, images, grid, snakemake.output[n], stored)
