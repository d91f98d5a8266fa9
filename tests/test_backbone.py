import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from cladescope.activations import extract_activations
from cladescope.backbone import BackboneSpec, load_backbone
from cladescope.images import index_images
from cladescope.planted.rendering import PlantedSpec, render_split
from cladescope.store import read_activations

CHECKPOINT = "resources/planted_vit/s0.safetensors"


@pytest.fixture(scope="module")
def shipped(root):
    return BackboneSpec("vit_planted", str(root / CHECKPOINT), blocks=8)


@pytest.fixture(scope="module")
def images():
    return torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layers", [[8], [1, 2, 4, 8], [3]])
def test_class_tokens_equal_a_forward_hook_bit_for_bit(shipped, images, layers):
    backbone = load_backbone(shipped)
    seen = {}
    for number, block in enumerate(backbone.model.blocks, start=1):
        block.register_forward_hook(
            lambda module, args, output, number=number: seen.__setitem__(number, output[:, 0])
        )
    with torch.inference_mode():
        backbone.model.forward_features(images)
    expected = dict(seen)
    seen.clear()
    found = backbone.class_tokens(images, layers)
    assert sorted(found) == sorted(layers)
    for layer in layers:
        assert torch.equal(found[layer], expected[layer])
    assert max(seen) == max(layers), "the pass stops after the deepest layer"


def test_plain_timm_model(shipped):
    assert type(load_backbone(shipped).model) is VisionTransformer


def test_random_weights_follow_their_seed():
    one, again, other = (
        load_backbone(BackboneSpec("vit_planted", "random", 8, seed=seed)).weights_sha256
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_checkpoint_of_another_model_lists_what_differs(shipped, tmp_path):
    state = load_file(shipped.weights)
    state["cls_token"] = torch.zeros(1, 1, 7)
    del state["pos_embed"]
    state["stray"] = torch.zeros(1)
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    with pytest.raises(ValueError, match="does not fit vit_planted") as error:
        load_backbone(BackboneSpec("vit_planted", str(path), 8))
    message = str(error.value)
    assert str(path) in message
    assert "missing pos_embed" in message
    assert "unexpected stray" in message
    assert "cls_token has shape (1, 1, 7), the model's is (1, 1, 96)" in message


def test_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.safetensors does not exist"):
        load_backbone(BackboneSpec("vit_planted", str(tmp_path / "none.safetensors"), 8))


def test_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(Exception, match="weights_only=True blocked"):
        load_backbone(BackboneSpec("vit_planted", str(tmp_path / "evil.pth"), 8))
    assert not (tmp_path / "touched").exists()


def test_wrong_number_of_blocks(shipped):
    with pytest.raises(ValueError, match="has 8 blocks, the configuration says 12"):
        load_backbone(BackboneSpec("vit_planted", shipped.weights, 12))


def test_unknown_model_names_close_ones():
    with pytest.raises(ValueError, match="timm has no model 'vit_tinny'"):
        load_backbone(BackboneSpec("vit_tinny", "random", 8, seed=0))


def test_model_without_class_token():
    with pytest.raises(ValueError, match="resnet10t has no class token"):
        load_backbone(BackboneSpec("resnet10t", "random", 8, seed=0))


def test_extraction_does_not_depend_on_which_layers_share_the_pass(shipped, tmp_path):
    render_split(PlantedSpec(), "eval", 1, tmp_path / "images", tmp_path / "factors.parquet")
    index = index_images(tmp_path / "images")
    for name, layers in (("a", [2, 5]), ("b", [5])):
        extract_activations(
            index,
            tmp_path / "images",
            shipped,
            {layer: tmp_path / name / f"L{layer}.json" for layer in layers},
            n_shards=3,
            precision="float32",
            batch_size=16,
        )
    first, second = tmp_path / "a", tmp_path / "b"
    assert (first / "L5.json").read_bytes() == (second / "L5.json").read_bytes()
    values = read_activations(first / "L5.json")
    assert values.shape == (64, 1, 96)
    assert np.array_equal(values, read_activations(second / "L5.json"))
    assert not np.array_equal(values, read_activations(first / "L2.json"))


def test_image_that_is_gone_or_changed_stops_the_extraction(shipped, tmp_path):
    render_split(PlantedSpec(), "eval", 1, tmp_path / "images", tmp_path / "factors.parquet")
    index = index_images(tmp_path / "images")
    victim = tmp_path / "images" / index.paths[40]
    manifests = {1: tmp_path / "store" / "L1.json"}
    options = {"n_shards": 1, "precision": "float32", "batch_size": 16}
    victim.write_bytes((tmp_path / "images" / index.paths[41]).read_bytes())
    with pytest.raises(ValueError, match=f"{victim.name} is not the image that was indexed"):
        extract_activations(index, tmp_path / "images", shipped, manifests, **options)
    victim.unlink()
    with pytest.raises(ValueError, match=f"{victim.name} is gone; put it back"):
        extract_activations(index, tmp_path / "images", shipped, manifests, **options)
    assert not manifests[1].exists()
