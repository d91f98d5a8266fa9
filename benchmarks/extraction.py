"""Extraction against a bare forward loop of the same model on tensors in memory.

    .venv/bin/python benchmarks/extraction.py [model ...]

Each round runs, one after the other and on one compute thread (all of the GPU, if there is one):
a bare loop over preloaded batches up to the same layer; the same loop capturing the class token
(the mean, without one) of one layer and of all layers; extraction with its checks, statistics and
writing, from images decoded beforehand; and extraction end to end from files, decoding in worker
processes. Ratios are medians over rounds of ratios within a round. Processor time is that of the
process that computes, without the workers: it tells the work from a busy machine's waiting.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cladescope.activations import extract as extracting
from cladescope.activations import forward
from cladescope.activations.spec import Extraction, ExtractionSpec
from cladescope.backbone.backbone import Backbone, BackboneSpec, load_backbone
from cladescope.backbone.layers import list_layers
from cladescope.images.index import decode_image
from cladescope.images.indexing import index_images
from cladescope.images.sources.image_folder import ImageFolder

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
GPU = DEVICE.type == "cuda"
MODELS = (
    ("vit_giant_patch14_dinov2:224",) if GPU else ("vit_planted", "vit_small_patch14_dinov2:224")
)
IMAGES = {"vit_planted": 16384}
ROUNDS = 5


def main(name: str) -> None:
    """Measure one model, given as `name` or `name:image size`."""
    model, _, size = name.partition(":")
    side = int(size) if size else None
    layers = list_layers(model, side)
    token = "cls" if "cls" in layers[0].tokens else "mean"
    spec = BackboneSpec(model, "random", len(layers), side, seed=0)
    backbone = load_backbone(spec)
    count = IMAGES.get(model, 8192 if GPU else 96)
    batch = 128 if GPU else min(256, count // 4)
    extraction = ExtractionSpec(1, "float16", batch, "bfloat16" if GPU else None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rng = np.random.default_rng(0)
        side = backbone.preprocessing["input_size"][1]
        for row in range(count):
            path = folder / "images" / "n00000001" / f"{row:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Twice as large as the model's input and as noisy as a photograph.
            pixels = rng.normal(128, 20, (2 * side, 2 * side, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
        source = ImageFolder(str(folder / "images"))
        index, _ = index_images(source)
        ready = [backbone.transform(decode_image(source.read(index, row))) for row in range(count)]
        measure(name, backbone, spec, extraction, (index, source, ready), token, folder)


def measure(name, backbone: Backbone, spec, extraction, data, token, folder) -> None:
    """Run the rounds and print medians and ratios."""
    index, source, ready = data
    numbers = [layer.number for layer in backbone.layers]
    size = extraction.batch_size
    batches = [torch.stack(ready[first : first + size]) for first in range(0, len(ready), size)]
    mixed = torch.autocast(DEVICE.type, torch.bfloat16, enabled=GPU)

    def loop(read: Callable[[torch.Tensor], object]) -> None:
        backbone.model.to(DEVICE)
        with torch.inference_mode(), mixed:
            for batch in batches:
                read(batch.to(DEVICE, non_blocking=True))
        if GPU:
            torch.cuda.synchronize()

    def bare(batch: torch.Tensor) -> object:
        return backbone.model.forward_features(batch)

    def extract(decoded: bool, threads: int) -> None:
        manifests = {(n, token): folder / "store" / token / f"L{n}.json" for n in numbers}
        class_of_images = forward._Images
        if decoded:
            forward._Images = lambda *_: ready
        # Loading the weights is no part of the rate.
        load, extracting.load_backbone = extracting.load_backbone, lambda _: backbone
        try:
            chosen = Extraction(index, source, spec, extraction, threads=threads)
            extracting.extract_activations(chosen, manifests)
        finally:
            forward._Images, extracting.load_backbone = class_of_images, load
        torch.set_num_threads(1)

    workers = max(2, os.cpu_count() or 2)
    contestants = {
        "bare forward loop": lambda: loop(bare),
        "one layer captured": lambda: loop(lambda x: backbone.read(x, numbers[-1:], [token])),
        "all layers captured": lambda: loop(lambda x: backbone.read(x, numbers, [token])),
        "extraction, decoded images": lambda: extract(True, 1),
        f"extraction, files, {workers} threads": lambda: extract(False, workers),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):  # the first one warms up
        for contestant, run in contestants.items():
            start = time.perf_counter(), time.process_time()
            run()
            if number:
                wall, own = time.perf_counter() - start[0], time.process_time() - start[1]
                seconds[contestant].append((wall, own))
    print(f"{name}: {len(ready)} images, {len(numbers)} layers, batch {size}, {DEVICE}")
    for column, kind in enumerate(("wall", "processor")):
        times = {name: np.array(values)[:, column] for name, values in seconds.items()}
        for contestant, values in times.items():
            rates, ratios = len(ready) / values, times["bare forward loop"] / values
            print(
                f"  {kind:<10}{contestant:<30}{np.median(rates):>9,.1f} images/s, "
                f"{np.median(ratios):.3f} of bare ({ratios.min():.3f}-{ratios.max():.3f})"
            )
        extra = times["all layers captured"] / times["one layer captured"] - 1
        spread = f"{extra.min():+.1%} to {extra.max():+.1%}"
        print(f"  {kind:<10}all layers cost {np.median(extra):+.1%} ({spread})")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model_name in sys.argv[1:] or MODELS:
        main(model_name)
