"""Backbones: real timm architectures, read layer by layer, against forward hooks of their own."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from cladescope.backbone.backbone import Backbone, BackboneSpec, load_backbone
from cladescope.backbone.layers import TOKENS, list_layers, list_modules, readable_layers

CHECKPOINT = "resources/planted_vit/s0.safetensors"
# Model, layers, image side, prefix tokens; the sides are small to keep the tests quick.
MODELS = [
    ("vit_small_patch14_dinov2", 12, 56, {"cls": 1}),
    ("vit_small_patch14_reg4_dinov2", 12, 56, {"cls": 1, "registers": 4}),
    ("vit_small_patch16_dinov3", 12, 64, {"cls": 1, "registers": 4}),
    ("vit_base_patch16_clip_224", 12, 64, {"cls": 1}),
    ("vit_base_patch16_siglip_224", 12, 64, {}),
    ("deit_tiny_distilled_patch16_224", 12, 64, {"cls": 1}),
    ("resnet50", 5, 64, {}),
    ("convnext_tiny", 4, 64, {}),
    ("swin_tiny_patch4_window7_224", 4, 224, {}),
]


@pytest.fixture(scope="module")
def shipped(root):
    return BackboneSpec("vit_planted", str(root / CHECKPOINT), blocks=8)


@pytest.fixture(scope="module")
def images():
    return torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def hooked(model, images) -> dict[int, torch.Tensor]:
    """Return what each layer's module gives to a hook: (batch, tokens or positions, width)."""
    seen = {}
    handles = []
    for number, info in enumerate(model.feature_info, start=1):
        module = model.get_submodule(info["module"])
        handles.append(
            module.register_forward_hook(
                lambda module, args, output, number=number: seen.__setitem__(number, output)
            )
        )
    with torch.inference_mode():
        model.forward_features(images)
    for handle in handles:
        handle.remove()
    channels = {number: info["num_chs"] for number, info in enumerate(model.feature_info, start=1)}
    return {number: as_tokens(output, channels[number]) for number, output in seen.items()}


def as_tokens(output, channels):
    if output.ndim == 3:
        return output
    # Channels come first in most hierarchical models, last in Swin.
    last = output if output.shape[-1] == channels else output.permute(0, 2, 3, 1)
    return last.flatten(1, 2)


@pytest.mark.parametrize(("name", "blocks", "side", "prefix"), MODELS)
def test_every_token_equals_a_forward_hook_bit_for_bit(name, blocks, side, prefix):
    backbone = load_backbone(BackboneSpec(name, "random", blocks, image_size=side, seed=0))
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = hooked(backbone.model, images)
    layers = [1, blocks // 2, blocks]
    found = backbone.read(images, layers, TOKENS)
    assert {kind for _, kind in found} == {*prefix, "mean", "patches"}
    n_prefix = getattr(backbone.model, "num_prefix_tokens", 0)
    for layer in layers:
        patches = expected[layer][:, n_prefix:]
        assert torch.equal(found[layer, "patches"], patches)
        # The mean is ours, and the order of its sum follows the layout in memory.
        torch.testing.assert_close(found[layer, "mean"][:, 0], patches.mean(1))
        if "cls" in prefix:
            assert torch.equal(found[layer, "cls"], expected[layer][:, :1])
        if "registers" in prefix:
            assert torch.equal(found[layer, "registers"], expected[layer][:, 1:5])
        described = backbone.layers[layer - 1]
        assert described.width == patches.shape[2]
        assert described.tokens == {kind: found[layer, kind].shape[1] for kind in described.tokens}
        assert set(described.tokens) == {*prefix, "mean", "patches"}
    assert backbone.preprocessing["input_size"] == [3, side, side]
    theirs = backbone.model.forward_intermediates(images, norm=False, intermediates_only=True)
    for layer in layers:
        as_map = found[layer, "patches"].transpose(1, 2).reshape(theirs[layer - 1].shape)
        assert torch.equal(as_map, theirs[layer - 1])


@pytest.mark.parametrize("layers", [[8], [1, 2, 4, 8], [3]])
def test_pass_stops_after_the_deepest_layer(shipped, images, layers):
    backbone = load_backbone(shipped)
    expected = hooked(backbone.model, images)
    seen = []
    for number, block in enumerate(backbone.model.blocks, start=1):
        block.register_forward_hook(lambda *args, number=number: seen.append(number))
    found = backbone.read(images, layers, ["cls"])
    assert sorted(found) == [(layer, "cls") for layer in sorted(layers)]
    for layer in layers:
        assert torch.equal(found[layer, "cls"], expected[layer][:, :1])
    assert max(seen) == max(layers)


def test_giant_is_described_without_its_weights():
    layers = list_layers("vit_giant_patch14_dinov2", 224)
    assert [layer.number for layer in layers] == list(range(1, 41))
    assert {layer.width for layer in layers} == {1536}
    assert layers[-1].name == "blocks.39"
    assert layers[-1].tokens == {"cls": 1, "mean": 1, "patches": 256}


def test_position_embedding_of_a_checkpoint_is_interpolated(tmp_path):
    """DINOv2 is trained at 518 px; at another size its checkpoint loads with resized positions."""
    large = load_backbone(BackboneSpec("vit_small_patch14_dinov2", "random", 12, seed=0)).model
    save_file(large.state_dict(), tmp_path / "dinov2.safetensors")
    spec = BackboneSpec("vit_small_patch14_dinov2", str(tmp_path / "dinov2.safetensors"), 12, 224)
    small = load_backbone(spec).model
    assert large.pos_embed.shape[1] == 1 + 37**2
    assert small.pos_embed.shape[1] == 1 + 16**2
    assert small.pos_embed.std() < large.pos_embed.std(), "averaged over neighbours"
    assert torch.equal(small.blocks[3].mlp.fc1.weight, large.blocks[3].mlp.fc1.weight)


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
    with pytest.raises(
        ValueError, match=r"has 8 layers, the configuration says 12; set backbone.blocks to 8"
    ):
        load_backbone(BackboneSpec("vit_planted", shipped.weights, 12))


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("vit_plantd", "vit_planted"),
        ("tf_efficientnet_lite00", "tf_efficientnet_lite0"),
        ("resnet_50.a1_in1k", "resnet50"),
        # Of another library, which names the family first.
        ("dinov2_vits14", "vit_small_patch14_dinov2"),
    ],
)
def test_unknown_model_names_close_ones(name, close):
    with pytest.raises(
        ValueError, match=rf"timm has no model '{name}'; close names: .*\b{close}\b"
    ):
        list_layers(name)


MODULES = ["conv1.0", "layer1.0.conv1", "layer2", "layer4"]
"""The first is followed by modules that work in place."""


def test_named_modules_are_layers_in_the_order_given(images):
    """Against hooks on a whole forward pass, which copy what they see."""
    spec = BackboneSpec("resnet10t", "random", 4, seed=0, modules=MODULES)
    backbone, seen = load_backbone(spec), {}
    for number, name in enumerate(MODULES, start=1):
        backbone.model.get_submodule(name).register_forward_hook(
            lambda module, args, output, n=number: seen.setdefault(n, output.clone())
        )
    with torch.inference_mode():
        backbone.model(images)
    assert [layer.name for layer in backbone.layers] == MODULES
    read = backbone.read(images, [1, 2, 3, 4], ["mean", "patches"])
    for number, layer in enumerate(backbone.layers, start=1):
        torch.testing.assert_close(
            read[number, "patches"], seen[number].flatten(2).mT, rtol=0, atol=0
        )
        torch.testing.assert_close(read[number, "mean"][:, 0], seen[number].mean((2, 3)))
        assert layer.width == seen[number].shape[1]
    # The pass ends with the last module that is read.
    late = []
    backbone.model.layer2.register_forward_hook(lambda *_: late.append("layer2"))
    backbone.read(images, [2, 1], ["mean"])
    assert not late


def test_stages_that_are_named_are_those_of_timm(images):
    names = [layer.name for layer in list_layers("resnet10t")]
    stages = load_backbone(BackboneSpec("resnet10t", "random", 5, seed=0))
    named = load_backbone(BackboneSpec("resnet10t", "random", 2, seed=0, modules=names[2:4]))
    expected = stages.read(images, [3, 4], ["patches"])
    found = named.read(images, [1, 2], ["patches"])
    for number in (1, 2):
        assert torch.equal(found[number, "patches"], expected[number + 2, "patches"])


def test_modules_that_can_be_layers_are_listed():
    names = [layer.name for layer in list_modules("resnet10t")]
    assert {*MODULES} < {*names}
    # Identities and what follows the pooling are not.
    assert not {"layer1.0.drop_block", "global_pool", "fc"} & {*names}
    with pytest.raises(ValueError, match="modules of VisionTransformer cannot be layers"):
        list_modules("vit_planted")


def test_modules_that_cannot_be_layers_are_all_named():
    modules = ["layer22", "global_pool", "layer1"]
    with pytest.raises(ValueError, match=r"backbone.modules: 'layer22' is no .*close: layer2") as e:
        list_layers("resnet10t", modules=modules)
    assert "global_pool outputs no map" in str(e.value)
    with pytest.raises(ValueError, match=r"remove backbone\.modules"):
        list_layers("swin_tiny_patch4_window7_224", modules=["layers.0"])


def test_preprocessing_is_what_the_configuration_says(shipped):
    changed = {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0], "crop": 0.5}
    spec = BackboneSpec(shipped.model, shipped.weights, 8, preprocessing=changed)
    plain, other = load_backbone(shipped), load_backbone(spec)
    assert other.preprocessing["mean"] == [0.1, 0.2, 0.3]
    assert other.preprocessing["crop_pct"] == 0.5
    assert other.preprocessing["interpolation"] == plain.preprocessing["interpolation"]
    # A white frame around a black square half as wide: the crop leaves the square.
    pixels = np.full((96, 96, 3), 255, np.uint8)
    pixels[24:72, 24:72] = 0
    image = Image.fromarray(pixels)
    inner = other.transform(image)[:, 4:-4, 4:-4]
    expected = -torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1).expand_as(inner)
    torch.testing.assert_close(inner, expected)
    assert plain.transform(image)[:, 0, 0].min() > 1


def test_token_that_the_model_lacks_names_the_alternatives():
    backbone = Backbone("siglip", None, None, list_layers("resnet10t"), "", {})
    with pytest.raises(ValueError, match=r"siglip has no cls token after .* among mean, patches"):
        backbone.check_tokens(["cls", "mean"])


def test_model_that_timm_cannot_read_by_layers(monkeypatch):
    monkeypatch.delattr(VisionTransformer, "forward_intermediates")
    with pytest.raises(ValueError, match="cannot read VisionTransformer layer by layer"):
        list_layers("vit_planted")


def test_a_model_of_two_sequences_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^tnt_s_patch16_224 cannot be read .* one sequence of"):
        readable_layers("tnt_s_patch16_224")
    assert readable_layers("vit_planted") == list_layers("vit_planted")
