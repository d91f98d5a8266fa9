"""The backbone of the planted world: `vit_planted`, registered with timm like timm's own models.

Import this module, then `timm.create_model("vit_planted", checkpoint_path=..., num_classes=64)`.
It is timm's `VisionTransformer` (48 pixels, patches of 8, width 96, 8 blocks, 3 heads, 64 classes)
except for its patch embedding, a short convolutional stem: it learns from the first step, where a
linear embedding had not learned anything after a hundred.
"""

import math
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

__all__ = ["MODEL_NAME", "PIXEL_DEVIATION", "PIXEL_MEAN", "ConvStem", "vit_planted"]

MODEL_NAME = "vit_planted"

# Of the pixels of the planted world on the scale [0, 1], rounded; the same for each channel, since
# hues are uniform.
PIXEL_MEAN = (0.44, 0.44, 0.44)
PIXEL_DEVIATION = (0.23, 0.23, 0.23)

default_cfgs = generate_default_cfgs(
    {
        f"{MODEL_NAME}.untrained": {
            "num_classes": 64,
            "input_size": (3, 48, 48),
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": PIXEL_MEAN,
            "std": PIXEL_DEVIATION,
            "fixed_input_size": True,
            "first_conv": "patch_embed.net.0",
            "classifier": "head",
        }
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
        """Embed images (batch, channels, height, width) as tokens (batch, patches, embed_dim)."""
        return self.net(images).flatten(2).transpose(1, 2)


@register_model
def vit_planted(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build the planted world's backbone; `kwargs` override its architecture, as in timm.

    Raises
    ------
    RuntimeError
        If `pretrained`: its weights are a file (`checkpoint_path`), not on a hub.
    """
    if pretrained:
        raise RuntimeError(
            f"{MODEL_NAME} has no pretrained weights to download; pass checkpoint_path instead"
        )
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
    return build_model_with_cfg(
        VisionTransformer,
        MODEL_NAME,
        pretrained,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **(architecture | kwargs),
    )
