"""From a study's files to the patches of one layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cladescope.activations.spec import PatchSample
from cladescope.activations.store import ActivationStore
from cladescope.backbone.backbone import BackboneSpec, make_transform
from cladescope.backbone.layers import list_layers
from cladescope.images.groups import load_groups
from cladescope.images.index import ImageIndex
from cladescope.images.masks import MaskFolder
from cladescope.planted.rendering import masks_by_path
from cladescope.segmentation.measure import Place, SegmentationSpec
from cladescope.segmentation.patches import cover_patches, masks_of_objects
from cladescope.taxonomy.taxonomy import Taxonomy


def prepare_place(inputs: Mapping[str, Any], spec: Mapping[str, Any]) -> Place:
    """Look up what the stored patches of the chosen images show.

    Parameters
    ----------
    inputs
        Paths: `manifest` of the activations, `index` of the images, `taxonomy` of what masks show,
        `groups` of the images, if they are told, and either `factors` of the planted world or
        `masks` of the user's.
    spec
        `backbone`, `layer`, `segmentation` and, where patches are sampled, `patches`, as in the
        configuration.

    Raises
    ------
    ValueError, OSError
        From what reads them.
    """
    index, taxonomy = ImageIndex.load(inputs["index"]), Taxonomy.load(inputs["taxonomy"])
    if factors := inputs.get("factors"):
        read_mask = masks_of_objects(masks_by_path(factors), index)
    else:
        read_mask = MaskFolder.load(inputs["masks"], index, taxonomy.leaves).read
    backbone, segmentation = (
        BackboneSpec(**spec["backbone"]),
        SegmentationSpec(**spec["segmentation"]),
    )
    layers = list_layers(backbone.model, backbone.image_size, backbone.modules)
    n_patches = layers[spec["layer"] - 1].tokens["patches"]
    images, positions = segmentation.chosen(index.labels), None
    if "patches" in spec:
        sample = PatchSample(**spec["patches"])
        positions = sample.positions(range(len(index)), n_patches)[images]
    transform = make_transform(backbone)
    patches = cover_patches(
        transform, read_mask, images, len(taxonomy.leaves), n_patches, positions
    )
    groups = None
    if inputs.get("groups"):
        groups = np.unique(load_groups(inputs["groups"][0])[images], return_inverse=True)[1]
    store = ActivationStore.open(inputs["manifest"])
    return Place(store, patches, index.labels[images], groups, taxonomy, segmentation)
