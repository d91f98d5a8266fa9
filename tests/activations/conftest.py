"""Fixtures of the extraction's tests."""

import pytest

from cladescope.activations.extract import extract_activations
from cladescope.activations.spec import Extraction, PatchSample
from cladescope.backbone.backbone import BackboneSpec
from cladescope.images.indexing import index_images
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.planted.rendering import PlantedSpec, render_split
from stores import manifests_of, spec_of


@pytest.fixture(scope="package")
def shipped(root):
    return BackboneSpec("vit_planted", str(root / "resources/planted_vit/s0.safetensors"), blocks=8)


@pytest.fixture(scope="package")
def images(tmp_path_factory):
    """64 planted images: their index and source."""
    folder = tmp_path_factory.mktemp("planted")
    render_split(PlantedSpec(), "eval", 1, folder / "images", folder / "factors.parquet")
    source = ImageFolder(str(folder / "images"))
    return index_images(source)[0], source


@pytest.fixture(scope="package")
def undisturbed(shipped, images, tmp_path_factory):
    """A store of two layers and two token kinds, made without disturbance."""
    folder = tmp_path_factory.mktemp("undisturbed")
    manifests = manifests_of(folder, [2, 8], ["cls", "patches"])
    extract_activations(Extraction(*images, shipped, spec_of(patches=PatchSample(4, 0))), manifests)
    return folder
