"""What the planted world's backbones are trained for: to name the leaf, or to know views again."""

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, normalize, pad

from cladescope.planted.labelled_images import normalise
from cladescope.planted.recipes import ViewSpec


class Outcome(NamedTuple):
    """What an objective says of a batch."""

    loss: Tensor
    """To be minimised; a scalar."""
    shown: float
    """The part of it that the log shows."""
    accuracy: float
    """Share of the batch that is named, or known again."""


class LeafLabels(nn.Module):
    """Cross-entropy of the model's head; of a model with a class token that of a second head, too.

    The second, dropped afterwards, is on the mean patch token: the patch tokens then carry the
    class as well. Other models' heads are on the mean already.

    Parameters
    ----------
    max_shift : int
        Augmentation: largest shift of an image, in pixels, in each direction.
    brightness : float
        Augmentation: gains are uniform in 1 ± this.
    """

    def __init__(self, model: Any, n_classes: int, max_shift: int, brightness: float) -> None:
        super().__init__()
        self.max_shift, self.brightness = max_shift, brightness
        has_class_token = bool(getattr(model, "num_prefix_tokens", 0))
        self.patch_head = nn.Linear(model.num_features, n_classes) if has_class_token else None

    def forward(self, model: Any, pixels: Tensor, labels: Tensor, generator: Generator) -> Outcome:
        """Judge uint8 images (n, 3, size, size) with labels (n,)."""
        images = augment(pixels, self.max_shift, self.brightness, generator)
        tokens = model.forward_features(images)
        logits = model.forward_head(tokens)
        loss = class_loss = cross_entropy(logits, labels)
        if self.patch_head is not None:
            loss = class_loss + cross_entropy(self.patch_head(tokens[:, 1:].mean(1)), labels)
        hits = (logits.argmax(1) == labels).float().mean().item()
        return Outcome(loss, class_loss.item(), hits)


class TwoViews(nn.Module):
    """Know an image's second view among the views of others; no label is used.

    The loss is SimCLR's (arXiv 2002.05709, equation 1) of projections of the class token, plus that
    of the mean patch token, so that both are trained as by `LeafLabels`. The projections are
    dropped afterwards.
    """

    def __init__(self, model: Any, spec: ViewSpec) -> None:
        super().__init__()
        self.spec = spec
        width = model.num_features
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, spec.width))
            for _ in ("class token", "mean patch token")
        )

    def forward(self, model: Any, pixels: Tensor, labels: Tensor, generator: Generator) -> Outcome:
        """Judge uint8 images (n, 3, size, size); `labels` are not read."""
        images = torch.cat([view(pixels, self.spec, generator) for _ in range(2)])
        tokens = model.forward_features(images)
        of_class, of_patches = (
            self._compare(projection(token))
            for projection, token in zip(
                self.projections, (tokens[:, 0], tokens[:, 1:].mean(1)), strict=True
            )
        )
        loss = of_class.loss + of_patches.loss
        return Outcome(loss, of_class.shown, of_class.accuracy)

    def _compare(self, projected: Tensor) -> Outcome:
        """Find each row's partner; projected (2n, width), views of image i at i and n + i."""
        directions = normalize(projected, dim=1)
        likeness = directions @ directions.T / self.spec.temperature
        likeness = likeness.masked_fill(torch.eye(len(likeness), dtype=torch.bool), -torch.inf)
        partner = torch.arange(len(likeness)).roll(len(likeness) // 2)
        loss = cross_entropy(likeness, partner)
        hits = (likeness.argmax(1) == partner).float().mean().item()
        return Outcome(loss, loss.item(), hits)


def view(pixels: Tensor, spec: ViewSpec, generator: Generator) -> Tensor:
    """Normalise uint8 images (n, 3, size, size); mirror, turn, crop and recolour each at random."""
    n, channels = pixels.shape[:2]
    images = _shuffled_channels(normalise(pixels), generator)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    angle = torch.deg2rad(between(-spec.rotation, spec.rotation, n))
    scale = between(*spec.scales, n)
    mirror = 1 - 2 * (torch.rand(n, generator=generator) < 0.5).float()
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    x, y = between(-spec.shift, spec.shift, 2, n)
    rows = [torch.stack([mirror * cosine, -sine, x], 1), torch.stack([mirror * sine, cosine, y], 1)]
    places = affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    images = grid_sample(images, places, padding_mode="reflection", align_corners=False)
    return images * between(1 - spec.gains, 1 + spec.gains, n, channels, 1, 1)


def augment(pixels: Tensor, max_shift: int, brightness: float, generator: Generator) -> Tensor:
    """Normalise a batch (n, 3, size, size) and vary each image: mirror, shift, colour, light."""
    n, channels, size, _ = pixels.shape
    images = normalise(pixels)
    mirror = torch.rand(n, generator=generator) < 0.5
    images[mirror] = images[mirror].flip(3)
    padded = pad(images, (max_shift,) * 4, mode="replicate")
    top, left = torch.randint(2 * max_shift + 1, (2, n), generator=generator)
    rows = (top[:, None] + torch.arange(size)).view(n, 1, size, 1)
    columns = (left[:, None] + torch.arange(size)).view(n, 1, 1, size)
    # Hues mean nothing in the planted world: permuting the channels makes new ones.
    shuffled = torch.rand(n, channels, generator=generator).argsort(1).view(n, channels, 1, 1)
    images = padded[torch.arange(n).view(n, 1, 1, 1), shuffled, rows, columns]
    gain = 1 + brightness * (2 * torch.rand(n, 1, 1, 1, generator=generator) - 1)
    return images * gain


def _shuffled_channels(images: Tensor, generator: Generator) -> Tensor:
    """Permute each image's channels; as `augment`."""
    n, channels = images.shape[:2]
    shuffled = torch.rand(n, channels, generator=generator).argsort(1)
    return images[torch.arange(n)[:, None], shuffled]
