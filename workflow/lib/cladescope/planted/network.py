"""The backbones of the planted world, registered with timm like timm's own models.

Import this module, then `timm.create_model("vit_planted", checkpoint_path=..., num_classes=64)`.
All take images of 48 pixels.

- `vit_planted` is timm's `VisionTransformer` (patches of 8, width 96, 8 blocks, 3 heads) except for
  its patch embedding, a short convolutional stem: it learns from the first step, where a linear
  embedding had not learned anything after a hundred. The tag of `vit_planted.unlabelled` stands for
  weights that were trained without labels.
- `convnext_planted` is timm's `ConvNeXt` (four stages of 1, 1, 2 and 1 blocks, widths 24 to 144).
- `swin_planted` is timm's `SwinTransformer` (three stages of two blocks, widths 32 to 128, windows
  of 6 patches of 4 pixels).
"""

import math
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.convnext import ConvNeXt
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cladescope.planted.recipes import CONVNEXT, SWIN, UNLABELLED, VIT

__all__ = [
    "PIXEL_DEVIATION",
    "PIXEL_MEAN",
    "ConvStem",
    "convnext_planted",
    "swin_planted",
    "vit_planted",
]

# Of the pixels of the planted world on the scale [0, 1], rounded; the same for each channel, since
# hues are uniform.
PIXEL_MEAN = (0.44, 0.44, 0.44)
PIXEL_DEVIATION = (0.23, 0.23, 0.23)


def _cfg(first_conv: str, classifier: str, fixed_size: bool = True) -> dict[str, Any]:
    return {
        "num_classes": 64,
        "input_size": (3, 48, 48),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": PIXEL_MEAN,
        "std": PIXEL_DEVIATION,
        "fixed_input_size": fixed_size,
        "first_conv": first_conv,
        "classifier": classifier,
    }


default_cfgs = generate_default_cfgs(
    {
        f"{VIT}.untrained": _cfg("patch_embed.net.0", "head"),
        UNLABELLED: _cfg("patch_embed.net.0", "head"),
        f"{CONVNEXT}.untrained": _cfg("stem.0", "head.fc", fixed_size=False),
        f"{SWIN}.untrained": _cfg("patch_embed.net.0", "head.fc"),
    }
)


class ConvStem(nn.Module):
    """Patch embedding by stride-2 convolutions; stands in for timm's `PatchEmbed`.

    Parameters
    ----------
    img_size : int
        Side of the image, in pixels.
    patch_size : int
        Side of a patch, in pixels: a power of 2. One convolution per factor of 2.
    in_chans, embed_dim : int
        Channels of the image and of a patch token.
    output_fmt : str
        `NHWC` keeps rows and columns of patches apart; else they are one sequence.

    timm's other arguments are accepted and ignored: the stem has a bias, and it does not pad.
    """

    def __init__(
        self,
        img_size: int = 48,
        patch_size: int = 8,
        in_chans: int = 3,
        embed_dim: int = 96,
        bias: bool = True,
        dynamic_img_pad: bool = False,
        norm_layer: Any = None,
        strict_img_size: bool = True,
        output_fmt: str = "NLC",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        n_convolutions = int(math.log2(patch_size))
        if 2**n_convolutions != patch_size or img_size % patch_size:
            raise ValueError(
                f"the stem needs a patch size that is a power of 2 and divides the image size, "
                f"not {patch_size} for images of {img_size} pixels"
            )
        self.keeps_grid = output_fmt == "NHWC"
        self.img_size = (img_size, img_size)
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size,) * 2
        self.num_patches = self.grid_size[0] ** 2
        on: dict[str, Any] = {"device": device, "dtype": dtype}
        layers: list[nn.Module] = []
        channels = in_chans
        for i in range(1, n_convolutions + 1):
            wider = embed_dim // 2 ** (n_convolutions - i)
            layers += [
                nn.Conv2d(channels, wider, kernel_size=3, stride=2, padding=1, bias=False, **on),
                nn.BatchNorm2d(wider, **on),
                nn.ReLU(),
            ]
            channels = wider
        layers.append(nn.Conv2d(channels, embed_dim, kernel_size=1, **on))
        self.net = nn.Sequential(*layers)

    def feat_ratio(self) -> int:
        """Return the pixels per token along a side."""
        return self.patch_size[0]

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of tokens of an image of `img_size` pixels."""
        return img_size[0] // self.patch_size[0], img_size[1] // self.patch_size[1]

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (batch, channels, height, width) as tokens (batch, patches, embed_dim).

        Or (batch, rows, columns, embed_dim), if the grid is kept.
        """
        maps = self.net(images)
        return maps.permute(0, 2, 3, 1) if self.keeps_grid else maps.flatten(2).transpose(1, 2)


@register_model
def vit_planted(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build the planted world's backbone; `kwargs` override its architecture, as in timm.

    Raises
    ------
    RuntimeError
        If `pretrained`: its weights are a file (`checkpoint_path`), not on a hub.
    """
    architecture: dict[str, Any] = {
        "img_size": 48,
        "patch_size": 8,
        "embed_dim": 96,
        "depth": 8,
        "num_heads": 3,
        "mlp_ratio": 2,
        "num_classes": 64,
        "embed_layer": ConvStem,
    }
    return _build(
        VisionTransformer,
        VIT,
        pretrained,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **(architecture | kwargs),
    )


@register_model
def convnext_planted(pretrained: bool = False, **kwargs: Any) -> ConvNeXt:
    """Build the planted world's convolutional backbone; as `vit_planted`."""
    architecture: dict[str, Any] = {
        "depths": (1, 1, 2, 1),
        "dims": (24, 48, 96, 144),
        "patch_size": 2,
        "kernel_sizes": 5,
        "ls_init_value": None,
        "num_classes": 64,
    }
    model = _build(
        ConvNeXt,
        CONVNEXT,
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3), "flatten_sequential": True},
        **(architecture | kwargs),
    )
    # timm's deviation of .02 suits layers of a thousand inputs; these have a few dozen.
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return model


@register_model
def swin_planted(pretrained: bool = False, **kwargs: Any) -> SwinTransformer:
    """Build the planted world's hierarchical transformer; as `vit_planted`."""
    architecture: dict[str, Any] = {
        "img_size": 48,
        "patch_size": 4,
        "embed_dim": 32,
        "depths": (2, 2, 2),
        "num_heads": (2, 4, 8),
        "window_size": 6,
        "mlp_ratio": 2,
        "drop_path_rate": 0.0,
        "embed_layer": ConvStem,
        "num_classes": 64,
    }
    return _build(
        SwinTransformer,
        SWIN,
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2), "flatten_sequential": True},
        **(architecture | kwargs),
    )


def _build(architecture: Any, name: str, pretrained: bool, **kwargs: Any) -> Any:
    """Build a model as timm does; raise a RuntimeError if it is to come from a hub."""
    if pretrained:
        raise RuntimeError(
            f"{name} has no pretrained weights to download; pass checkpoint_path instead"
        )
    return build_model_with_cfg(architecture, name, pretrained, **kwargs)
