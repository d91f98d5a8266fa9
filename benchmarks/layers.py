"""What can be read of twelve timm models at random weights: the table of docs/layers.md.

Run as `make layers-page`. Images are small, which changes neither a model's layers nor their sites.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.backbone.layers import Layer, common_sites, list_layers
from cladescope.operations.pages import fill_in
from cladescope.sites import ATTENTION

MODELS = {
    "DINOv2 ViT-S/14, registers": ("vit_small_patch14_reg4_dinov2", 56),
    "DINOv3 ViT-S/16": ("vit_small_patch16_dinov3", 64),
    "CLIP ViT-B/32": ("vit_base_patch32_clip_224", 64),
    "SigLIP ViT-B/16": ("vit_base_patch16_siglip_224", 64),
    "MAE ViT-B/16": ("vit_base_patch16_224.mae", 64),
    "supervised ViT-B/16": ("vit_base_patch16_224.augreg_in1k", 64),
    "EVA02-Ti/14": ("eva02_tiny_patch14_224", 56),
    "BEiT-B/16": ("beit_base_patch16_224", 64),
    "Swin-T": ("swin_tiny_patch4_window7_224", 224),
    "ConvNeXt-T": ("convnext_tiny", 64),
    "ResNet-50": ("resnet50", 64),
    "EfficientNet-Lite0": ("tf_efficientnet_lite0", 64),
}
"""timm's name and the side of the images, by family."""


def rows() -> Iterator[str]:
    """Yield the lines of the table, the last column measured."""
    yield (
        "| model | timm's name | pixels | layers | of timm's class | width | tokens per image | "
        "sites | largest difference |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for known_as, (name, side) in MODELS.items():
        layers = list_layers(name, side)
        has_sites = ATTENTION in common_sites(layers)
        measured = f"{difference(name, layers, side):.0g}" if has_sites else ""
        yield f"| {' | '.join([known_as, *described(name, side, layers), measured])} |"


def described(name: str, side: int, layers: list[Layer]) -> list[str]:
    """Return what the table says of a model without running it."""
    widths = dict.fromkeys(str(layer.width) for layer in (layers[0], layers[-1]))
    return [
        f"`{name}`",
        str(side),
        str(len(layers)),
        ", ".join(dict.fromkeys(f"`{layer.kind}`" for layer in layers)),
        " to ".join(widths),
        ", ".join(f"{kind} {_span(layers, kind)}" for kind in layers[0].tokens),
        ", ".join(common_sites(layers)),
    ]


def difference(name: str, layers: list[Layer], side: int) -> float:
    """Return how far before + attention + MLP is from what blocks leave, at most, from block 2 on.

    As a share of the largest value that a block leaves, on one random image.
    """
    backbone = load_backbone(BackboneSpec(name, "random", len(layers), side, seed=0))
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    numbers = [layer.number for layer in layers]
    read = backbone.read(image, numbers, ["patches", "patches_attention", "patches_mlp"])
    worst = 0.0
    for number in numbers[1:]:
        before, after = read[number - 1, "patches"], read[number, "patches"]
        gap = before + read[number, "patches_attention"] + read[number, "patches_mlp"] - after
        worst = max(worst, float(gap.abs().max() / after.abs().max()))
    return worst


def _span(layers: list[Layer], kind: str) -> str:
    first, last = layers[0].tokens[kind], layers[-1].tokens[kind]
    return str(first) if first == last else f"{first} to {last}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    mark = "<!-- from benchmarks/layers.py, by make layers-page -->"
    page.write_text(fill_in(page.read_text(), mark, "\n".join(rows())))
