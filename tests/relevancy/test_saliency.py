"""Maps of where a latent comes from, against a textbook in numpy and against what must hold."""

import math

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import ParallelThingsBlock, VisionTransformer

from cladescope.backbone.attention import trace_attention
from cladescope.backbone.backbone import Backbone, BackboneSpec, Layer, load_backbone
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.relevancy.methods import Target, contrast, map_saliency, methods_of

SIDE, PATCH, WIDTH, DEPTH, HEADS, REGISTERS = 24, 8, 16, 3, 2, 2
PREFIX = 1 + REGISTERS
PATCHES = (SIDE // PATCH) ** 2
# Model, layers, image side: every family of attention that timm has for one sequence of tokens.
FAMILIES = [
    ("vit_small_patch14_reg4_dinov2", 12, 56),
    ("vit_small_patch16_dinov3", 12, 64),
    ("deit_tiny_distilled_patch16_224", 12, 64),
    ("eva02_tiny_patch14_224", 12, 56),
    ("beit_base_patch16_224", 12, 64),
    ("vit_relpos_small_patch16_224", 12, 64),
]


def small_vit(norm_layer=torch.nn.LayerNorm) -> Backbone:
    """A transformer with registers in float64 whose attention is far from uniform."""
    torch.manual_seed(0)
    model = VisionTransformer(
        SIDE,
        PATCH,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_ratio=2,
        reg_tokens=REGISTERS,
        init_values=0.7,
        num_classes=0,
        norm_layer=norm_layer,
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    counts = {"cls": 1, "mean": 1, "patches": PATCHES, "registers": REGISTERS}
    layers = [Layer(n, f"blocks.{n - 1}", WIDTH, counts, "Block") for n in range(1, DEPTH + 1)]
    model = model.double().eval().requires_grad_(False)
    return Backbone("small", model, None, layers, "", {})


def draw_images(n: int, side: int = SIDE) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(2)).double()


def random_dictionary(width: int = WIDTH, latents: int = 20, seed: int = 3) -> Dictionary:
    rng = np.random.default_rng(seed)
    return Dictionary(
        encoder=rng.standard_normal((latents, width)),
        encoder_bias=rng.standard_normal(latents),
        decoder=rng.standard_normal((latents, width)),
        decoder_bias=rng.standard_normal(width),
        mean=rng.standard_normal(width),
        scale=1.7,
    )


def textbook_map(backbone, image, dictionary, latent, layer, token, method):
    """One image and latent in numpy: R in full, and ∂y/∂A by central differences."""
    state = {name: value.numpy() for name, value in backbone.model.state_dict().items()}

    def forward(nudges):
        """Return tokens after the layer and each block's attention, with `nudges` added to it."""
        x = embed(state, image.numpy())
        attention = []
        for block in range(layer):
            x, found = run_block(state, f"blocks.{block}.", x, nudges.get(block, 0))
            attention.append(found)
        return x, attention

    def pre_activation(x):
        scaled = (x - dictionary.mean) / dictionary.scale - dictionary.decoder_bias
        return scaled @ dictionary.encoder[latent] + dictionary.encoder_bias[latent]

    tokens, attention = forward({})
    v = np.zeros(len(tokens))
    if token == "cls":
        v[0] = 1
    elif token == "mean":
        v[PREFIX:] = 1 / PATCHES
    else:
        read = slice(PREFIX, None) if token == "patches" else slice(1, PREFIX)
        v[read] = np.maximum(pre_activation(tokens)[read], 0)
        assert v.sum() > 0, "choose a latent that fires"
        v /= v.sum()

    if method == "attention":
        return (v @ attention[-1].mean(0))[PREFIX:]
    r = np.eye(len(tokens))
    for block, matrix in enumerate(attention):
        if method == "rollout":
            r = (0.5 * matrix.mean(0) + 0.5 * np.eye(len(tokens))) @ r
            continue
        gradient = np.zeros_like(matrix)
        for place in np.ndindex(*matrix.shape):
            nudge = np.zeros_like(matrix)
            nudge[place] = 1e-4
            above, below = (forward({block: sign * nudge})[0] for sign in (1, -1))
            gradient[place] = v @ (pre_activation(above) - pre_activation(below)) / 2e-4
        r = r + np.maximum(gradient * matrix, 0).mean(0) @ r
    if method == "relevancy" and token == "mean":
        r = r - np.eye(len(tokens))
    return (v @ r)[PREFIX:]


def embed(state, image):
    kernels = state["patch_embed.proj.weight"].reshape(WIDTH, -1)
    corners = range(0, SIDE, PATCH)
    patches = [
        kernels @ image[:, top : top + PATCH, left : left + PATCH].ravel()
        + state["patch_embed.proj.bias"]
        for top in corners
        for left in corners
    ]
    x = np.concatenate([state["cls_token"][0], state["reg_token"][0], np.array(patches)])
    return x + state["pos_embed"][0]


def run_block(state, name, x, nudge):
    normed = layer_norm(state, name + "norm1.", x)
    q, k, v = (
        part.reshape(len(x), HEADS, -1).transpose(1, 0, 2)
        for part in np.split(linear(state, name + "attn.qkv.", normed), 3, axis=1)
    )
    logits = q @ k.transpose(0, 2, 1) / math.sqrt(WIDTH / HEADS)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    attention = exponentials / exponentials.sum(-1, keepdims=True)
    mixed = ((attention + nudge) @ v).transpose(1, 0, 2).reshape(len(x), WIDTH)
    x = x + state[name + "ls1.gamma"] * linear(state, name + "attn.proj.", mixed)
    hidden = linear(state, name + "mlp.fc1.", layer_norm(state, name + "norm2.", x))
    hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    x = x + state[name + "ls2.gamma"] * linear(state, name + "mlp.fc2.", hidden)
    return x, attention


def linear(state, name, x):
    return x @ state[name + "weight"].T + state[name + "bias"]


def layer_norm(state, name, x):
    centred = x - x.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    return scaled * state[name + "weight"] + state[name + "bias"]


@pytest.mark.parametrize("token", ["cls", "mean", "patches", "registers"])
@pytest.mark.parametrize("method", ["relevancy", "attention", "rollout"])
def test_maps_equal_the_textbook(method, token):
    backbone, dictionary, image = small_vit(), random_dictionary(), draw_images(1)
    layer = 2 if method == "relevancy" and token == "mean" else 3
    expected = textbook_map(backbone, image[0], dictionary, 5, layer, token, method)
    target = Target.of(dictionary, np.array([5]))
    found = map_saliency(backbone, image, target, layer, token, method)
    assert expected.max() > 0
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=0, atol=1e-6 * expected.max())


@pytest.mark.parametrize("token", ["cls", "mean", "patches"])
@pytest.mark.parametrize("method", ["relevancy", "attention", "rollout"])
def test_a_batch_equals_its_pairs_one_by_one(method, token):
    backbone, dictionary, images = small_vit(), random_dictionary(), draw_images(3)
    # Image 0 comes with three latents, latent 4 with two images.
    which, latents = [0, 1, 0, 2, 0], np.array([4, 4, 7, 8, 1])
    target = Target.of(dictionary, latents)
    together = map_saliency(backbone, images[which], target, 3, token, method)
    for row, (image, latent) in enumerate(zip(which, latents, strict=True)):
        alone = Target.of(dictionary, np.array([latent]))
        one = map_saliency(backbone, images[image : image + 1], alone, 3, token, method)
        torch.testing.assert_close(together[row], one[0], rtol=1e-12, atol=1e-14)
    if method == "relevancy":
        assert not torch.allclose(together[0], together[2], rtol=0.01), "latents differ"


def blind_vit(region: list[int]) -> Backbone:
    """A transformer no token of which can attend to some patches.

    Channel 0 holds −10⁴ for those patches and nothing else; every key copies it and every query has
    a 1 there, so that softmax gives them exactly 0.
    """
    backbone = small_vit(norm_layer=torch.nn.Identity)
    model = backbone.model
    with torch.no_grad():
        model.patch_embed.proj.weight[0] = 0
        model.patch_embed.proj.bias[0] = 0
        model.cls_token[..., 0] = 0
        model.reg_token[..., 0] = 0
        model.pos_embed[..., 0] = 0
        model.pos_embed[:, [PREFIX + patch for patch in region], 0] = -1e4
        for block in model.blocks:
            block.attn.qkv.weight[:, 0] = 0
            block.mlp.fc1.weight[:, 0] = 0
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight[0] = 0
                layer.bias[0] = 0
            for head in range(HEADS):
                query = head * WIDTH // HEADS
                block.attn.qkv.weight[query] = 0
                block.attn.qkv.bias[query] = 1
                block.attn.qkv.weight[WIDTH + query] = 0
                block.attn.qkv.weight[WIDTH + query, 0] = 1
                block.attn.qkv.bias[WIDTH + query] = 0
    return backbone


def test_region_that_a_latent_cannot_depend_on_gets_nothing():
    region = [0, 1, 5]
    backbone, images = blind_vit(region), draw_images(2)
    target = Target.of(random_dictionary(), np.array([1, 2]))

    def latent(images):
        tokens = backbone.read(images, [3], ["cls"])[3, "cls"]
        return target.pre_activation(tokens)[:, 0]

    def altered(patch):
        row, column = (PATCH * part for part in divmod(patch, SIDE // PATCH))
        other = images.clone()
        other[:, :, row : row + PATCH, column : column + PATCH] += 1
        return other

    depends = [
        not torch.allclose(latent(images), latent(altered(patch)), rtol=0, atol=1e-12)
        for patch in range(PATCHES)
    ]
    assert [patch for patch in range(PATCHES) if not depends[patch]] == region
    for method in methods_of(backbone):
        found = map_saliency(backbone, images, target, 3, "cls", method)
        assert (found[:, region] == 0).all()
        assert (found[:, depends] > 0).all()


def test_deeper_blocks_do_not_count():
    backbone, images = small_vit(), draw_images(1)
    target = Target.of(random_dictionary(), np.array([0]))
    before = map_saliency(backbone, images, target, 2, "cls", "relevancy")
    for parameter in backbone.model.blocks[2].parameters():
        parameter.fill_(torch.nan)
    after = map_saliency(backbone, images, target, 2, "cls", "relevancy")
    assert torch.equal(before, after)


def test_gated_off_latent_still_has_a_map():
    backbone, images = small_vit(), draw_images(1)
    dictionary = random_dictionary()
    lifted = Dictionary(**{**vars(dictionary), "encoder_bias": dictionary.encoder_bias - 1e3})
    maps = [
        map_saliency(backbone, images, Target.of(d, np.array([3])), 3, "cls", "relevancy")
        for d in (dictionary, lifted)
    ]
    assert torch.equal(*maps)
    assert maps[0].max() > 0
    nowhere = map_saliency(
        backbone, images, Target.of(lifted, np.array([3])), 3, "patches", "relevancy"
    )
    assert (nowhere == 0).all(), "a patch latent that is positive at no patch"


@pytest.mark.parametrize(("name", "blocks", "side"), FAMILIES)
def test_every_family_of_transformers(name, blocks, side):
    """Unfused, the model computes what it does fused; the maps are of this model's attention."""
    backbone = load_backbone(BackboneSpec(name, "random", blocks, image_size=side, seed=0))
    images, layer = draw_images(2, side).float(), 2
    described = backbone.layers[layer - 1]
    switches = [module.fused_attn for module in backbone.model.modules() if is_attention(module)]
    expected = backbone.read(images, [layer], ["patches", "mean"])[layer, "patches"]
    trace = trace_attention(backbone, images, layer)
    n_patches = described.tokens["patches"]
    torch.testing.assert_close(trace.tokens[:, -n_patches:], expected, rtol=1e-4, atol=1e-5)
    assert len(trace.attention) == layer
    for attention in trace.attention:
        torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:3]))
    dictionary = random_dictionary(described.width)
    single = Dictionary(
        **{
            key: value.astype(np.float32) if isinstance(value, np.ndarray) else value
            for key, value in vars(dictionary).items()
        }
    )
    single.encoder_bias[:] = 1e3  # fires on every patch
    target = Target.of(single, np.array([0, 1]))
    for token in set(described.tokens) - {"registers"}:
        found = map_saliency(backbone, images, target, layer, token, "relevancy")
        assert found.shape == (2, n_patches)
        assert (found >= 0).all()
        assert (found.amax(1) > 0).all()
    after = [module.fused_attn for module in backbone.model.modules() if is_attention(module)]
    assert switches == after
    assert all(switches), "timm's own setting"


def is_attention(module) -> bool:
    return hasattr(module, "fused_attn")


@pytest.mark.parametrize("token", ["mean", "patches"])
def test_convolutional_model(token):
    """By hand: y = Σ v_t (w · x_t + b), so gradient × activation at position t is v_t (w · x_t)."""
    backbone = load_backbone(BackboneSpec("resnet10t", "random", 5, image_size=64, seed=0))
    images, layer = draw_images(2, 64).float(), 4
    x = backbone.read(images, [layer], ["patches"])[layer, "patches"].double().numpy()
    dictionary = random_dictionary(x.shape[2])
    scaled = (x - dictionary.mean) / dictionary.scale - dictionary.decoder_bias
    for row, latent in enumerate((6, 2)):
        p = scaled[row] @ dictionary.encoder[latent] + dictionary.encoder_bias[latent]
        v = np.maximum(p, 0) / np.maximum(p, 0).sum() if token == "patches" else 1 / len(p)
        expected = np.maximum(v * (x[row] @ dictionary.encoder[latent] / dictionary.scale), 0)
        backbone.model.double()
        found = map_saliency(
            backbone,
            images.double(),
            Target.of(dictionary, np.array([6, 2])),
            layer,
            token,
            "gradient_x_activation",
        )
        backbone.model.float()
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-3, atol=1e-6)


def test_method_that_does_not_fit_names_the_alternatives():
    backbone = load_backbone(BackboneSpec("resnet10t", "random", 5, image_size=64, seed=0))
    target = Target.of(random_dictionary(512), np.array([0]))
    image = draw_images(1, 64).float()
    with pytest.raises(ValueError, match=r"resnet10t .* choose among gradient_x_activation"):
        map_saliency(backbone, image, target, 5, "mean", "relevancy")
    with pytest.raises(ValueError, match=r"resnet10t has no cls token"):
        map_saliency(backbone, image, target, 5, "cls", "gradient_x_activation")
    with pytest.raises(ValueError, match=r"resnet10t \(timm's ResNet\): it has no sequence"):
        trace_attention(backbone, image, 5)


def test_family_with_two_attentions_a_block_is_refused():
    model = VisionTransformer(
        SIDE, PATCH, embed_dim=WIDTH, depth=1, num_heads=2, block_fn=ParallelThingsBlock
    ).eval()
    backbone = Backbone(
        "parallel", model, None, [Layer(1, "blocks.0", WIDTH, {"patches": 9}, "Block")], "", {}
    )
    with pytest.raises(ValueError, match=r"VisionTransformer.*ParallelThingsBlock has not one"):
        trace_attention(backbone, draw_images(1).float(), 1)


def test_contrast_is_what_a_map_has_beyond_the_mean_latents() -> None:
    maps = torch.tensor([[2.0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [4, 0, 0, 0]])
    mean = torch.tensor([[1.0, 1, 1, 1], [5, 5, 5, 5], [1, 1, 0, 0], [0, 0, 0, 0]])
    # Shares of 1/2, 1/4, 1/4 and 0 less a quarter each; nothing; nothing; all of the map.
    expected = [[0.25, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert contrast(maps, mean).tolist() == expected


def test_the_mean_latent_is_the_mean_of_all_pre_activations() -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((5, 4)).astype(np.float32)
    bias, mean = random.standard_normal((2, 5)).astype(np.float32)
    dictionary = Dictionary(rows, bias, rows, rows[0], mean[:4], 2.0)
    tokens = torch.tensor(random.standard_normal((3, 6, 4)).astype(np.float32))
    each = [Target.of(dictionary, np.full(3, latent)) for latent in range(5)]
    expected = torch.stack([target.pre_activation(tokens) for target in each]).mean(0)
    found = Target.mean_of(dictionary).pre_activation(tokens)
    torch.testing.assert_close(found, expected)
