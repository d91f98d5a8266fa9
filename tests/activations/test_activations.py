"""Extraction: what is written, for every token kind."""

import numpy as np
import pytest
import torch
import zarr

from cladescope.activations.extract import extract_activations
from cladescope.activations.spec import Extraction, PatchSample
from cladescope.activations.store import read_activations
from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.images.index import decode_image
from cladescope.images.indexing import index_images
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.planted.rendering import PlantedSpec, render_split
from stores import manifests_of, spec_of, tree

TOKENS = ("cls", "mean", "patches", "registers")


def test_values_are_the_models(shipped, images, tmp_path):
    index, source = images
    model = "vit_small_patch14_reg4_dinov2"
    backbone_spec = BackboneSpec(model, "random", 12, image_size=56, seed=0)
    manifests = manifests_of(tmp_path, [3], TOKENS)
    extract_activations(Extraction(index, source, backbone_spec, spec_of(batch_size=22)), manifests)
    backbone = load_backbone(backbone_spec)
    batch = [decode_image(source.read_checked(index, row)) for row in range(22)]
    expected = backbone.read(torch.stack([*map(backbone.transform, batch)]), [3], TOKENS)
    for place, manifest in manifests.items():
        assert np.array_equal(read_activations(manifest)[:22], expected[place].numpy())


def test_layers_and_tokens_do_not_depend_on_their_company(shipped, images, tmp_path, undisturbed):
    spec = spec_of(patches=PatchSample(4, 0))
    extract_activations(
        Extraction(*images, shipped, spec), manifests_of(tmp_path, [8], ["patches"])
    )
    company = undisturbed / "patches"
    assert (tmp_path / "patches" / "L8.json").read_bytes() == (company / "L8.json").read_bytes()
    assert tree(tmp_path / "patches" / "L8.zarr") == tree(company / "L8.zarr")
    assert tree(tmp_path / "patches" / "L8.zarr") != tree(company / "L2.zarr")


def test_worker_processes_change_nothing(shipped, images, tmp_path, undisturbed):
    spec = spec_of(patches=PatchSample(4, 0))
    manifests = manifests_of(tmp_path, [2, 8], ["cls", "patches"])
    extract_activations(Extraction(*images, shipped, spec, threads=2), manifests)
    # But what the manifests say of the threads.
    found = {
        path: data.replace(b", 2 threads", b", 1 thread") for path, data in tree(tmp_path).items()
    }
    assert found == tree(undisturbed)


def test_sampled_patches_are_where_their_positions_say(shipped, images, tmp_path, undisturbed):
    extract_activations(
        Extraction(*images, shipped, spec_of()), manifests_of(tmp_path, [8], ["patches"])
    )
    every = read_activations(tmp_path / "patches" / "L8.json")
    assert every.shape == (64, 36, 96)
    sample = read_activations(undisturbed / "patches" / "L8.json")
    positions = zarr.open_array(undisturbed / "patches/L8.zarr/position", mode="r")[:]
    assert np.array_equal(sample, np.take_along_axis(every, positions[:, :, None], 1))
    assert (np.diff(positions, axis=1) > 0).all()
    assert len(np.unique(positions)) == 36, "every patch of some image"


def test_sample_depends_on_image_and_seed_alone():
    sample = PatchSample(3, 0)
    whole = sample.positions(range(3000), 36)
    assert np.array_equal(whole[1000:1100], sample.positions(range(1000, 1100), 36))
    assert not np.array_equal(whole, PatchSample(3, 1).positions(range(3000), 36))
    # Each of 36 patches is drawn 3000 * 3 / 36 = 250 times, give or take 4.7 deviations of 15.
    assert np.abs(np.bincount(whole.ravel()) - 250).max() < 70


def test_sample_larger_than_the_patches(shipped, images, tmp_path):
    spec = spec_of(patches=PatchSample(37, 0))
    with pytest.raises(ValueError, match="37 exceeds the 36 patches"):
        extract_activations(
            Extraction(*images, shipped, spec), manifests_of(tmp_path, [1], ["patches"])
        )


def test_convolutional_model(images, tmp_path):
    spec = BackboneSpec("resnet10t", "random", 5, image_size=64, seed=0)
    manifests = manifests_of(tmp_path, [2, 5], ["mean", "patches"])
    extract_activations(Extraction(*images, spec, spec_of()), manifests)
    patches, mean = (read_activations(manifests[5, token]) for token in ("patches", "mean"))
    assert patches.shape == (64, 4, 512)
    np.testing.assert_allclose(patches.mean(1), mean[:, 0], rtol=1e-5, atol=1e-6)
    assert read_activations(manifests[2, "patches"]).shape == (64, 256, 64)
    with pytest.raises(ValueError, match=r"resnet10t has no cls token .* among mean, patches"):
        extract_activations(
            Extraction(*images, spec, spec_of()), manifests_of(tmp_path, [1], ["cls"])
        )


def test_autocast_is_near_and_recorded(shipped, images, tmp_path, undisturbed):
    spec = spec_of(autocast="bfloat16")
    extract_activations(Extraction(*images, shipped, spec), manifests_of(tmp_path, [8]))
    mixed = read_activations(tmp_path / "cls" / "L8.json")
    exact = read_activations(undisturbed / "cls" / "L8.json")
    assert not np.array_equal(mixed, exact)
    assert np.abs(mixed - exact).mean() < 0.05 * np.abs(exact).mean()
    assert '"autocast": "bfloat16"' in (tmp_path / "cls" / "L8.json").read_text()


@pytest.mark.parametrize(("scale", "value"), [(1e7, r"-?\d.*"), (np.nan, "nan")])
def test_overflow_names_layer_image_and_value(shipped, images, tmp_path, monkeypatch, scale, value):
    backbone = load_backbone(shipped)
    original = backbone.model.blocks[4].forward

    def massive(x):
        x = original(x)
        x[5, 0, 7] *= scale
        return x

    monkeypatch.setattr(backbone.model.blocks[4], "forward", massive)
    monkeypatch.setattr("cladescope.activations.extract.load_backbone", lambda spec: backbone)
    spec, manifests = spec_of(precision="float16"), manifests_of(tmp_path, [5])
    message = rf"layer 5, token cls 0: image 5 has the value {value} in dimension 7, beyond float16"
    with pytest.raises(ValueError, match=message):
        extract_activations(Extraction(*images, shipped, spec), manifests)
    assert not manifests[5, "cls"].exists()


@pytest.mark.slow
def test_image_that_is_gone_or_changed_stops_the_extraction(shipped, tmp_path):
    render_split(PlantedSpec(), "eval", 1, tmp_path / "images", tmp_path / "factors.parquet")
    source = ImageFolder(str(tmp_path / "images"))
    index, _ = index_images(source)
    victim = tmp_path / "images" / index.paths[40]
    manifests = manifests_of(tmp_path, [1])
    victim.write_bytes((tmp_path / "images" / index.paths[41]).read_bytes())
    with pytest.raises(ValueError, match=f"{victim.name} is not the image that was indexed"):
        extract_activations(Extraction(index, source, shipped, spec_of()), manifests)
    victim.unlink()
    with pytest.raises(ValueError, match=f"{victim.name} is gone; put it back"):
        extract_activations(Extraction(index, source, shipped, spec_of()), manifests)
    assert not manifests[1, "cls"].exists()
