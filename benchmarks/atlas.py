"""How quick is a large atlas, and how much disk does it take?

Makes an atlas of ImageNet's size (1000 classes under their WordNet ancestors, 50,000 evaluation
images, 40 layers × 16 dictionaries × 16,384 latents) through the workflow's own writers, opens it
from disk in headless Chromium and clicks through it. The pages of a dictionary are written once,
from random codes, and linked for all others: a page costs the same whichever dictionary it is of,
and the size counts every one. Thumbnails are noise, which compresses worse than photographs.

    .venv/bin/python benchmarks/atlas.py [--folder /tmp/atlas] [--layers 40]
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from cladescope.atlas.chunks import read_chunk, write_chunk
from cladescope.atlas.dictionary import DictionaryPages, PageSpec
from cladescope.atlas.site import Study, build_atlas
from cladescope.atlas.thumbnails import QUALITY
from cladescope.atlas.wire import IMAGES_PER_FOLDER
from cladescope.codes.codes import Codes
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.classes import IMAGENET_1K, read_wnid_map
from cladescope.images.index import ImageIndex
from cladescope.layout import page_folder
from cladescope.scores.schemas import LATENT_SCHEMA, NODE_SCHEMA, RELATION_SCHEMA
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree
from cladescope.taxonomy.wordnet import build_taxonomy

ROOT = Path(__file__).parents[1]
SPEC = PageSpec(images=8, classes=32, neighbours=8, latents=12, mcc_threshold=0.5, seed=0)
IMAGES, PER_LAYER, L0, WIDTH_OF_BACKBONE = 50_000, 16, 32, 256
SIDE = 96


def main() -> None:
    """Make the atlas, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to keep the atlas")
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--width", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    atlas = folder / "atlas"
    if not (atlas / "index.html").exists():
        make_atlas(folder, arguments.layers, arguments.width)
    report_size(atlas)
    report_times(atlas, arguments.rounds)
    if not arguments.folder:
        shutil.rmtree(folder)


def make_atlas(folder: Path, layers: int, width: int) -> None:
    """Write the atlas of a study that was never run."""
    started = time.perf_counter()
    random = np.random.default_rng(0)
    wnids = list(read_wnid_map(IMAGENET_1K).values())
    taxonomy = build_taxonomy(sorted(wnids), ROOT / "resources" / "nltk_data")
    labels = random.integers(len(wnids), size=IMAGES).astype(np.int32)
    atlas = folder / "atlas"
    names = [
        f"trained/dictionaries/cls/L{layer}/topk/w{width}_k{k}_s{seed}"
        for layer in range(1, layers + 1)
        for k in (16, 32, 64, 128)
        for seed in range(PER_LAYER // 4)
    ]
    first = atlas / "dictionaries" / page_folder(names[0])
    random_pages(random, taxonomy, labels, width).save(first)
    for name in names[1:]:
        link_folder(first, atlas / "dictionaries" / page_folder(name))
    draw_noise(random, atlas / "images" / "imagenet")
    write_shared(random, folder, names, width, taxonomy, labels)
    print(f"made in {time.perf_counter() - started:.0f} s")


def random_pages(
    random: np.random.Generator, taxonomy: Taxonomy, labels: np.ndarray, width: int
) -> DictionaryPages:
    """A dictionary whose latents fire at random and match nodes at random."""
    tree = Tree.of(taxonomy)
    image = np.repeat(np.arange(IMAGES, dtype=np.int32), L0)
    # Some latents fire a hundred times as often as others.
    latent = (width * random.random(len(image)) ** 2).astype(np.int32)
    pairs = np.unique(image.astype(np.int64) * width + latent)
    activation = random.exponential(size=len(pairs)).astype(np.float32) + 0.1
    image, latent = (part.astype(np.int32) for part in np.divmod(pairs, width))
    codes = Codes(image, latent, activation, IMAGES, width)
    wnid = np.array(taxonomy.nodes, object)[tree.node]
    inner = wnid[tree.internal]
    nodes = random_table(random, NODE_SCHEMA, len(inner), inner, width) | {"wnid": inner}
    latents = random_table(random, LATENT_SCHEMA, width, wnid[tree.kind < 2], width)
    latents |= {"status": ["scored"] * width, "latent": np.arange(width)}
    for name in ("wnid", "name"):
        latents[f"best_internal_{name}"] = random.choice(inner, width)
    relations = random_table(random, RELATION_SCHEMA, 3 * width, wnid, width)
    decoder = random.normal(size=(width, WIDTH_OF_BACKBONE)).astype(np.float32)
    tables = {
        "latents": pa.table(latents, LATENT_SCHEMA),
        "nodes": pa.table(nodes, NODE_SCHEMA),
        "relations": pa.table(relations, RELATION_SCHEMA),
    }
    d = np.zeros(WIDTH_OF_BACKBONE, np.float32)
    dictionary = Dictionary(decoder, np.zeros(width, np.float32), decoder, d, d, scale=1.0)
    return DictionaryPages(codes, labels, taxonomy, dictionary, tables, SPEC)


def random_table(
    random: np.random.Generator, schema: pa.Schema, rows: int, names: np.ndarray, width: int
) -> dict[str, Any]:
    """Columns of a schema: latents below the width, shares below 1, nodes from `names`."""
    columns: dict[str, Any] = {}
    for field in schema:
        if pa.types.is_string(field.type):
            columns[field.name] = random.choice(names, rows)
        elif pa.types.is_boolean(field.type):
            columns[field.name] = random.random(rows) < 0.3
        elif pa.types.is_integer(field.type):
            columns[field.name] = random.integers(width, size=rows)
        else:
            columns[field.name] = random.random(rows)
    return columns


def link_folder(source: Path, target: Path) -> None:
    """Make the same files anew without taking the disk again."""
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).hardlink_to(file)


def draw_noise(random: np.random.Generator, folder: Path) -> None:
    """Thumbnails of noise, a hundred different ones."""
    originals = []
    for image in range(IMAGES):
        place = folder / str(image // IMAGES_PER_FOLDER)
        if image % IMAGES_PER_FOLDER == 0:
            place.mkdir(parents=True)
            paths = [f"val/{number:08d}.JPEG" for number in range(image, image + IMAGES_PER_FOLDER)]
            write_chunk(place / "paths.js", paths=paths)
        file = place / f"{image}.webp"
        if len(originals) < 100:
            coarse = random.integers(256, size=(12, 12, 3)).astype(np.uint8)
            picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            grain = np.asarray(picture, np.int16) + random.integers(-12, 13, (SIDE, SIDE, 3))
            Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(
                file, quality=QUALITY, method=2
            )
            originals.append(file)
        else:
            file.hardlink_to(originals[image % 100])


def write_shared(
    random: np.random.Generator,
    folder: Path,
    names: list[str],
    width: int,
    taxonomy: Taxonomy,
    labels: np.ndarray,
) -> None:
    """What all dictionaries share, through `build_atlas`."""
    taxonomy.save(folder / "taxonomy.parquet")
    ImageIndex(
        np.array([f"{i}.JPEG" for i in range(IMAGES)], np.dtypes.StringDType()),
        labels,
        list(taxonomy.leaves),
        np.zeros((IMAGES, 32), np.uint8),
    ).save(folder / "eval.parquet")
    rows = []
    for name in names:
        _, _, _, layer, _, point = name.split("/")
        k, seed = (int(part[1:]) for part in point.split("_")[1:])
        rows.append(
            {
                "dictionary": name,
                "experiment": "trained",
                "dataset": "imagenet",
                "model": "none",
                "weights": "pretrained",
                "token": "cls",
                "layer": int(layer[1:]),
                "variant": "topk",
                "width": width,
                "sparsity": k,
                "seed": seed,
                "node_recovery": random.random(),
                "node_recovery_null_permuted": random.random(),
                "n_scored": width,
                "n_rare": 0,
                "n_dead": 0,
            }
        )
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    names_of_columns = ("experiment", "token", "layer", "wnid", "probe_mcc", "probe_held_out")
    pd.DataFrame(columns=names_of_columns).to_csv(folder / "probes.csv", index=False)
    recurrence = []
    for name in names:
        path = folder / f"recurrence_{len(recurrence)}.parquet"
        pd.DataFrame(
            {
                "dictionary": name,
                "latent": np.arange(width),
                "n_other_seeds": 3,
                "seed_similarity": random.random(width),
                "seed_similarity_null": random.random(width),
                "recurrence": random.random(width),
            }
        ).to_parquet(path)
        recurrence.append(str(path))
    files = {
        "taxonomy": str(folder / "taxonomy.parquet"),
        "index": str(folder / "eval.parquet"),
        "drawn": None,
    }
    settings = {"top_n": 32, "tau": 0.9, "rho": 0.5, "mcc_threshold": 0.5, "p_draws": 1000}
    atlas = folder / "atlas"
    build_atlas(
        Study(
            folder / "metrics.csv",
            folder / "probes.csv",
            recurrence,
            {"imagenet": files},
            atlas / "dictionaries",
        ),
        {**settings, "null_draws": 100, "fdr": 0.05, "shown": names[-1]},
        ROOT / "workflow" / "atlas",
        {
            "index": str(atlas / "index.html"),
            "pages": str(atlas / "pages"),
            "shared": str(atlas / "shared"),
        },
    )


def report_size(atlas: Path) -> None:
    """Print bytes and files of each part; a linked file counts as often as it is there."""
    for part in ("dictionaries", "shared", "images"):
        sizes = [file.stat().st_size for file in (atlas / part).rglob("*") if file.is_file()]
        print(f"{part:<14} {sum(sizes) / 1e9:8.3f} GB in {len(sizes):>7,} files")
    files = list((atlas / "dictionaries").rglob("latents_*.js"))
    latents = sum(len(read_chunk(file)["status"]) for file in files[:32]) / len(files[:32])
    each = statistics.fmean(file.stat().st_size for file in files) / latents
    largest = max(file.stat().st_size for file in files)
    print(f"{each:.0f} bytes a latent; largest chunk of latents {largest / 1e6:.2f} MB")


# In the page: milliseconds from just before an action until its page is there and painted, and
# until the images in sight are. The page's policy evaluates no text, so the action stands in it.
TIMED = """async () => {
  const main = document.querySelector("main");
  const before = main.dataset.ready;
  const frame = () => new Promise(requestAnimationFrame);
  const loading = (image) => {
    const { top, bottom } = image.getBoundingClientRect();
    return !image.complete && bottom > 0 && top < innerHeight && image.checkVisibility();
  };
  const start = performance.now();
  ACTION;
  while (main.dataset.ready === before) await frame();
  await frame();
  await frame();
  const painted = performance.now() - start;
  while ([...document.images].some(loading)) await frame();
  return [painted, performance.now() - start];
}"""
CHOOSE = """const box = document.querySelector("{}");
  box.value = "{}";
  box.dispatchEvent(new Event("change"))"""
CLICK = 'document.querySelector("{}").dispatchEvent(new MouseEvent("click"))'
GO = "location.hash = '{}'"


def report_times(atlas: Path, rounds: int) -> None:
    """Print medians and ranges over rounds; in each, a fresh browser profile and other chunks."""
    first, clicks = [], {}
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for turn in range(rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            started = time.perf_counter()
            page.goto((atlas / "index.html").as_uri())
            page.wait_for_selector("main[data-ready]")
            page.evaluate("() => new Promise(requestAnimationFrame)")
            first.append(1000 * (time.perf_counter() - started))
            for name, action in actions(page, turn):
                clicks.setdefault(name, []).append(page.evaluate(TIMED.replace("ACTION", action)))
            context.close()
        browser.close()
    print(f"{'first view':<34} {summary(first)} ms")
    for name, times in clicks.items():
        painted, complete = zip(*times, strict=True)
        print(f"{name:<34} {summary(painted)} ms, with its images {summary(complete)} ms")


def actions(page: Page, turn: int) -> list[tuple[str, str]]:
    """Clicks of one round, each with JavaScript that does it; none was made before."""
    layer = 1 + 2 * turn
    latent = 512 * (3 + 2 * turn) + 7
    return [
        ("another colour", CHOOSE.format("#score", "excess")),
        ("into a node of the tree", CLICK.format(".icicle [aria-level='3']")),
        ("another seed", CHOOSE.format("#Dictionary-seed", turn % 3)),
        ("another layer", CHOOSE.format("#Dictionary-layer", layer)),
        ("page of a node", GO.format("node?n=n01503061")),
        ("page of another node", GO.format("node?n=n02084071")),
        ("page of a latent", GO.format(f"latent?j={latent}")),
        ("next latent", CLICK.format("#next")),
        ("latent of another block", GO.format(f"latent?j={latent + 600}")),
        ("a node through 40 layers", GO.format("depth?n=n02512053")),
        ("two dictionaries compared", GO.format("compare")),
    ]


def summary(times: list[float]) -> str:
    """Median, and range."""
    return f"{statistics.median(times):5.0f} ({min(times):.0f} to {max(times):.0f})"


if __name__ == "__main__":
    main()
