"""What the parts of a block add, in real timm architectures: together with what was before, all."""

import pytest
import timm
import torch
from benchmarks.layers import MODELS as LISTED
from benchmarks.layers import described
from timm.models.eva import Eva
from timm.models.vision_transformer import ResPostBlock, VisionTransformer
from timm.models.vision_transformer_relpos import ResPostRelPosBlock, VisionTransformerRelPos

from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.backbone.layers import check_tokens, list_layers
from cladescope.backbone.reading import BLOCKS, modules_of, read_layers
from cladescope.sites import SITES, at_site, kind_of, site_of

KINDS = ("cls", "mean", "patches", "registers")
SMALL = {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 32, "patch_size": 8}
VIT = {**SMALL, "init_values": 0.1}


def made(name, side, **options):
    return lambda: timm.create_model(name, num_classes=0, img_size=side, **options)


# The smallest members of families, at their own width and depth; the others are too large or none.
MODELS = {
    "DINOv2": made("vit_small_patch14_reg4_dinov2", 28),
    "DINOv3": made("vit_small_patch16_dinov3", 32),
    "CLIP": made("vit_base_patch32_clip_224", 64, embed_dim=96, num_heads=3),
    "SigLIP": made("vit_base_patch16_siglip_224", 32, embed_dim=96, num_heads=3),
    "MAE, supervised": made("vit_tiny_patch16_224", 32),
    "DeiT": made("deit_tiny_distilled_patch16_224", 32),
    "DeiT3": made("deit3_small_patch16_224", 32, embed_dim=96, num_heads=3),
    "EVA02": made("eva02_tiny_patch14_224", 28),
    "EVA02, norms behind": lambda: Eva(**SMALL, use_post_norm=True, use_rot_pos_emb=True),
    "BEiT": made("beit_base_patch16_224", 32, embed_dim=96, num_heads=3),
    "relative positions": made("test_vit_relpos", 32),
    "relative positions, norms behind": lambda: VisionTransformerRelPos(
        **VIT, block_fn=ResPostRelPosBlock
    ),
    "norms behind": lambda: VisionTransformer(**VIT, block_fn=ResPostBlock),
    "registers, drop path": lambda: VisionTransformer(**VIT, reg_tokens=2, drop_path_rate=0.5),
    "planted": lambda: timm.create_model("vit_planted", num_classes=0),
}


def with_random_weights(make):
    """Every parameter drawn, layer scales as well, so that no part adds next to nothing."""
    torch.manual_seed(0)
    model = make().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(parameter + 0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_before_attention_and_mlp_are_what_the_block_leaves(name):
    model = with_random_weights(MODELS[name])
    modules = modules_of(model, None)
    side = model.patch_embed.img_size[0]
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    tokens = [at_site(kind, site) for kind in KINDS for site in SITES]
    with torch.inference_mode():
        read = read_layers(model, modules, images, range(1, len(modules) + 1), tokens)
        plain = read_layers(model, modules, images, [len(modules)], KINDS)
    kinds = {token for _, token in read if site_of(token) == "residual"}
    assert {"mean", "patches"} <= kinds
    assert read.keys() == {
        (layer, at_site(kind, site))
        for layer in range(1, len(modules) + 1)
        for kind in kinds
        for site in SITES
    }
    for (_, kind), values in plain.items():
        assert torch.equal(read[len(modules), kind], values), "the same pass"
    for layer in range(2, len(modules) + 1):
        for kind in kinds:
            before, after = read[layer - 1, kind], read[layer, kind]
            attention, mlp = read[layer, f"{kind}_attention"], read[layer, f"{kind}_mlp"]
            if kind == "mean":
                torch.testing.assert_close(before + attention + mlp, after)
            else:
                assert torch.equal(before + attention + mlp, after), "in the model's own order"
            assert min(attention.abs().max(), mlp.abs().max()) > 1e-3 * after.abs().max()
    # An attention that outputs nothing adds nothing, or behind a norm the same to every patch.
    for parameter in model.get_submodule(modules[-1]).attn.proj.parameters():
        parameter.zero_()
    with torch.inference_mode():
        silent = read_layers(model, modules, images, [len(modules)], tokens)
    spread = {site: silent[len(modules), f"patches_{site}"].std(1).max() for site in SITES[1:]}
    assert spread["attention"] < 1e-6 < 1e-3 < spread["mlp"]


def test_every_block_with_sites_is_among_these_models():
    found = set()
    for make in MODELS.values():
        model = make()
        for module in modules_of(model, None):
            kind = type(model.get_submodule(module))
            found.add(f"{kind.__module__}.{kind.__name__}".removeprefix("timm.models."))
    assert found == {*BLOCKS}


def test_names_of_tokens_at_sites():
    names = [at_site(kind, site) for kind in KINDS for site in SITES]
    assert len(set(names)) == 12 and names[:3] == ["cls", "cls_attention", "cls_mlp"]
    assert [(kind_of(name), site_of(name)) for name in names] == [
        (kind, site) for kind in KINDS for site in SITES
    ]


def test_only_what_is_wanted_is_kept_and_blocks_behind_do_not_run():
    spec = BackboneSpec("vit_planted", "random", 8, seed=0)
    backbone = load_backbone(spec)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    ran = []
    for number, block in enumerate(backbone.model.blocks, start=1):
        block.register_forward_hook(lambda *args, number=number: ran.append(number))
    read = backbone.read(images, [3, 5], ["cls_mlp", "patches"])
    assert read.keys() == {(layer, token) for layer in (3, 5) for token in ("cls_mlp", "patches")}
    assert ran == [1, 2, 3, 4, 5], "once each"


@pytest.mark.parametrize("known_as", LISTED)
def test_the_page_says_of_twelve_models_where_they_can_be_read(root, known_as):
    name, side = LISTED[known_as]
    cells = " | ".join([known_as, *described(name, side, list_layers(name, side))])
    page = (root / "docs" / "layers.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith(f"| {known_as} |"))
    assert row.startswith(f"| {cells} |"), "make layers-page"
    difference = row.removeprefix(f"| {cells} |").strip(" |")
    assert difference == "" if cells.endswith("| residual") else float(difference) < 1e-6


# What has no sites, and the class of its layers that says so.
REFUSED = {
    "resnet10t": "ReLU",
    "convnext_atto": "ConvNeXtStage",
    "tf_efficientnet_lite0": "Sequential",
    "swin_tiny_patch4_window7_224": "SwinTransformerStage",
    "swinv2_tiny_window8_256": "SwinTransformerV2Stage",
    "vit_base_patch16_xp_224": "ParallelScalingBlock",
    "vit_dpwee_patch16_reg1_gap_256": "DiffParallelScalingBlock",
    "vit_small_patch16_18x2_224": "ParallelThingsBlock",
}


@pytest.mark.parametrize("model", REFUSED)
def test_a_model_without_such_blocks_is_refused_by_name(model):
    layers = list_layers(model)
    assert {layer.sites for layer in layers} == {("residual",)}
    check_tokens(model, layers, ["mean"])
    with pytest.raises(ValueError, match=f"{model} has no site attention and no mlp") as error:
        check_tokens(model, layers, ["mean", "mean_attention", "mean_mlp"])
    assert f"timm's {REFUSED[model]}" in str(error.value)
    assert "choose among residual" in str(error.value)


def test_tokens_and_sites_are_checked_apart():
    layers = list_layers("vit_base_patch16_siglip_224", 32)
    assert {layer.sites for layer in layers} == {SITES}
    assert layers[0].n_tokens("patches_mlp") == layers[0].n_tokens("patches") == 4
    check_tokens("siglip", layers, ["mean_attention", "patches_mlp"])
    with pytest.raises(ValueError, match=r"no cls token after each layer; choose among mean, pat"):
        check_tokens("siglip", layers, ["cls", "cls_attention"])
