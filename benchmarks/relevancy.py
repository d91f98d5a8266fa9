"""Does a map tell its latent from another's on the same image? Two objects, and a latent of each.

    .venv/bin/python benchmarks/relevancy.py --study results/demo --layer 8 --out two_objects.csv

Of a finished study of the planted world it takes one dictionary of the class token, and for each
leaf the latent with the best MCC. Scenes with two leaves beside each other are drawn, in the same
colours. A latent of either is kept where it fires on the scene and not where its own leaf is left
out. Its map is right as far as it lies on its own leaf: the share of its positive mass on the two
that is on its own. Chance is a half; maps without mass on either count as that. Intervals resample
scenes.

Methods are those of `relevancy/methods.py`, and beside them
- less the mean latent's: maps at sum 1, minus that of the mean of all latents; the positive part;
- patch activations: of the latent on the patch tokens of its layer, less their mean;
- integrated gradients (Sundararajan, Taly & Yan 2017, arXiv 1703.01365) of the patch tokens before
  the first block, from those of a picture of the mean colour, in 8 steps;
- AttnLRP (Achtibat et al. 2024, arXiv 2402.05602), of the same tokens: x · ∂y/∂x with the scale of
  norms held, activations as x times a held f(x)/x, and products halved between their factors;
- occlusion: how much less the latent's pre-activation is without a patch. One pass for each.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from cladescope.backbone.backbone import Backbone, BackboneSpec, load_backbone
from cladescope.backbone.reading import hooked
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex
from cladescope.planted.rendering import PlantedSpec, render_beside
from cladescope.relevancy.faithfulness import object_coverage
from cladescope.relevancy.methods import Target, at_sum_1, contrast, map_saliency, methods_of

ROOT = Path(__file__).parents[1]
BACKBONE = BackboneSpec("vit_planted", str(ROOT / "resources/planted_vit/s0.safetensors"), 8)
TOKEN, DICTIONARY = "cls", "topk/w256_k8_s0"
STRANGE = 0.05
"""A leaf's latent fires on at most this share of the other leaf's images."""
STEPS, DRAWS, FIRST_SCENE = 8, 2000, 100_000


class Cases(NamedTuple):
    """Latents on images of two objects."""

    scene: np.ndarray
    images: Tensor
    latents: np.ndarray
    own: Tensor
    """Share of each patch that the latent's leaf covers, float32 (cases, patches)."""
    other: Tensor


class Place(NamedTuple):
    """Where latents are read."""

    backbone: Backbone
    dictionary: Dictionary
    layer: int
    best: np.ndarray
    """Latent of each leaf."""


def leaf_latents(codes: Codes, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each leaf's best latent by MCC, and the share of each leaf's images it fires on."""
    fires = np.zeros((codes.n_images, codes.width))
    fires[codes.image, codes.latent] = 1
    truth = np.eye(labels.max() + 1)[labels]
    spread = np.outer(truth.std(0), np.maximum(fires.std(0), 1e-9))
    mcc = ((truth - truth.mean(0)).T @ (fires - fires.mean(0)) / len(labels)) / spread
    best = mcc.argmax(1)
    return best, (truth.T @ fires[:, best]) / truth.sum(0)[:, None]


def draw_cases(place: Place, rate: np.ndarray, wnids: list[str], n_scenes: int) -> Cases:
    """Draw scenes until so many have a latent that fires for its own leaf."""
    random, found = np.random.default_rng(0), []
    backbone, dictionary = place.backbone, place.dictionary
    number, kept = FIRST_SCENE, set()
    while len(kept) < n_scenes:
        pair, number = random.choice(len(wnids), 2, replace=False), number + 1
        latents = place.best[pair]
        if (
            latents[0] == latents[1]
            or max(rate[pair[1], pair[0]], rate[pair[0], pair[1]]) > STRANGE
        ):
            continue
        names = (wnids[pair[0]], wnids[pair[1]])
        drawn = [
            render_beside(leaves, PlantedSpec(), "pairs", number)
            for leaves in (names, (None, names[1]), (names[0], None))
        ]
        images = torch.stack([backbone.transform(Image.fromarray(image)) for image, _ in drawn])
        tokens = backbone.read(images, [place.layer], [TOKEN])[place.layer, TOKEN][:, 0].numpy()
        z = dictionary.encode(dictionary.normalise(tokens))
        coverage = object_coverage(backbone.transform, drawn[0][1], 36)
        for side in (0, 1):
            if z[0, latents[side]] > 0 and z[1 + side, latents[side]] == 0:
                kept.add(number)
                found.append((number, images[0], latents[side], coverage[side], coverage[1 - side]))
    scene, images, latents, own, other = zip(*found, strict=True)
    stacked = (torch.stack(part) for part in (images, own, other))
    image, own_share, other_share = stacked
    return Cases(np.array(scene), image, np.array(latents), own_share, other_share)


@contextmanager
def replaced_input(block: nn.Module, tokens: Tensor) -> Iterator[None]:
    """Have a block see these tokens."""
    handle = block.register_forward_pre_hook(lambda module, arguments: (tokens, *arguments[1:]))
    try:
        yield
    finally:
        handle.remove()


def first_tokens(place: Place, images: Tensor) -> Tensor:
    """Return the tokens before the first block."""
    seen: list[Tensor] = []
    block = place.backbone.model.get_submodule(place.backbone.layers[0].name)
    handle = block.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    try:
        place.backbone.read(images, [1], [TOKEN])
    finally:
        handle.remove()
    return seen[0].clone()


def gradient(place: Place, images: Tensor, target: Target, tokens: Tensor) -> Tensor:
    """Return ∂y/∂x of the tokens before the first block, at these."""
    model, layers = place.backbone.model, place.backbone.layers
    seen: list[Tensor] = []
    with torch.enable_grad():
        tokens = tokens.detach().requires_grad_()
        last = model.get_submodule(layers[place.layer - 1].name)
        with (
            replaced_input(model.get_submodule(layers[0].name), tokens),
            hooked(last, lambda module, arguments, output: seen.append(output)),
        ):
            model.forward_intermediates(
                images, [place.layer - 1], norm=False, stop_early=True, intermediates_only=True
            )
        return torch.autograd.grad(target.pre_activation(seen[0])[:, 0].sum(), tokens)[0]


def halved(x: Tensor) -> Tensor:
    """Return x, of whose gradient half goes on."""
    return (x + x.detach()) / 2


@contextmanager
def lrp_rules(place: Place) -> Iterator[None]:
    """Have gradients follow AttnLRP's rules in the blocks up to the layer."""
    with ExitStack() as stack:
        for layer in place.backbone.layers[: place.layer]:
            for module in place.backbone.model.get_submodule(layer.name).modules():
                if isinstance(module, nn.LayerNorm):
                    stack.enter_context(hooked(module, _held_scale))
                elif isinstance(module, nn.GELU):
                    stack.enter_context(hooked(module, _held_slope))
                elif hasattr(module, "fused_attn"):
                    stack.callback(setattr, module, "fused_attn", module.fused_attn)
                    module.fused_attn = False
                    stack.enter_context(hooked(module.attn_drop, lambda m, a, out: halved(out)))
                    handle = module.proj.register_forward_pre_hook(lambda m, a: (halved(a[0]),))
                    stack.callback(handle.remove)
        yield


def _held_scale(module: nn.LayerNorm, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    (x,) = arguments
    deviation = (x.var(-1, correction=0, keepdim=True) + module.eps).sqrt().detach()
    return (x - x.mean(-1, keepdim=True)) / deviation * module.weight + module.bias


def _held_slope(module: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    (x,) = arguments
    return x * (output / torch.where(x == 0, 1.0, x)).detach()


def candidates(place: Place, cases: Cases) -> dict[str, Callable[[Target], Tensor]]:
    """Return the methods by name: each maps (cases, patches), of which positive values count."""
    backbone, layer, images = place.backbone, place.layer, cases.images
    tokens = first_tokens(place, images)
    colour = first_tokens(place, torch.zeros_like(images[:1]))

    def patch_activations(target: Target) -> Tensor:
        found = target.pre_activation(backbone.read(images, [layer], ["patches"])[layer, "patches"])
        return found - found.mean(1, keepdim=True)

    def integrated(target: Target) -> Tensor:
        way = tokens - colour
        points = [(step + 0.5) / STEPS for step in range(STEPS)]
        slopes = [gradient(place, images, target, colour + part * way) for part in points]
        return (way * sum(slopes) / STEPS).sum(-1)[:, 1:]

    def attn_lrp(target: Target) -> Tensor:
        with lrp_rules(place):
            return (tokens * gradient(place, images, target, tokens)).sum(-1)[:, 1:]

    def occlusion(target: Target) -> Tensor:
        def activation(shown: Tensor) -> Tensor:
            return target.pre_activation(backbone.read(shown, [layer], [TOKEN])[layer, TOKEN])[:, 0]

        lost, side = [], backbone.model.patch_embed.patch_size[0]
        for top in range(0, images.shape[2], side):
            for left in range(0, images.shape[3], side):
                without = images.clone()
                without[:, :, top : top + side, left : left + side] = 0
                lost.append(activation(images) - activation(without))
        return torch.stack(lost, dim=1)

    def by(method: str) -> Callable[[Target], Tensor]:
        return lambda target: map_saliency(backbone, images, target, layer, TOKEN, method)

    def contrasted(method: Callable[[Target], Tensor]) -> Callable[[Target], Tensor]:
        mean = Target.mean_of(place.dictionary)
        return lambda target: contrast(method(target), method(mean))

    methods = {name: by(name) for name in methods_of(backbone)}
    return methods | {
        "relevancy, less the mean latent's": contrasted(by("relevancy")),
        "patch activations": patch_activations,
        "integrated gradients": integrated,
        "AttnLRP": attn_lrp,
        "AttnLRP, less the mean latent's": contrasted(attn_lrp),
        "occlusion": occlusion,
    }


def score(maps: Tensor, cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each map on its own leaf of both, and that on either of all of it."""
    maps = at_sum_1(maps)
    own, other = (maps * cases.own).sum(1).numpy(), (maps * cases.other).sum(1).numpy()
    return np.where(own + other > 0, own / np.maximum(own + other, 1e-12), 0.5), own + other


def main() -> None:
    """Print and write a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=Path("results/demo"))
    parser.add_argument("--layer", type=int, default=8)
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    folder = args.study / "trained" / "dictionaries" / TOKEN / f"L{args.layer}" / DICTIONARY
    index = ImageIndex.load(args.study / "datasets/planted/images/eval.parquet")
    best, rate = leaf_latents(Codes.load(folder / "codes.parquet"), index.labels)
    dictionary = Dictionary.load(folder / "sae.safetensors")
    place = Place(load_backbone(BACKBONE), dictionary, args.layer, best)
    cases = draw_cases(place, rate, index.wnids, args.scenes)
    target, rows = Target.of(dictionary, cases.latents), []
    for name, method in candidates(place, cases).items():
        start = time.process_time()
        own, inside = score(method(target).detach(), cases)
        seconds = time.process_time() - start
        by_scene = pd.Series(own).groupby(cases.scene).agg(["sum", "size"]).to_numpy()
        picks = np.random.default_rng(0).integers(len(by_scene), size=(DRAWS, len(by_scene)))
        total, size = by_scene[picks].sum(1).T
        low, high = np.percentile(total / size, [2.5, 97.5])
        rows.append(
            {
                "layer": args.layer,
                "method": name,
                "scenes": len(by_scene),
                "maps": len(own),
                "own_share": own.mean(),
                "own_share_low": low,
                "own_share_high": high,
                "more_on_own": (own > 0.5).mean(),
                "on_objects": inside.mean(),
                "cpu_seconds": seconds,
            }
        )
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
