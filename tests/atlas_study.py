"""A small study with an atlas, made without a backbone: known latents, and names that mean harm."""

import json
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cladescope.about import write_about
from cladescope.atlas.causes import Causes, PairTests
from cladescope.atlas.dictionary import DictionaryPages, PageSpec
from cladescope.atlas.places import Places
from cladescope.atlas.site import Study, build_atlas
from cladescope.atlas.thumbnails import draw_thumbnails
from cladescope.causes.kinds import MEASURES, REARRANGED, TAKING
from cladescope.causes.measures import SCHEMA
from cladescope.codes.codes import Codes
from cladescope.codes.encode import firing
from cladescope.codes.positions import keep_positions
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex, sha256_of
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.layout import page_folder
from cladescope.names import ACROSS, ADDED, LEAF, WITHIN
from cladescope.scores.contrasts import Contrasts
from cladescope.scores.pairs import PairScores, score_pairs
from cladescope.scores.recurrence import match_seeds
from cladescope.scores.score import DictionaryScores, score_dictionary
from cladescope.scores.spec import ScoreSpec
from cladescope.segmentation.measure import SCHEMA as SEGMENTATION
from cladescope.taxonomy.taxonomy import Taxonomy, taxonomy_from_parents
from oracles import inner_nodes, noisy_codes

PAGES = Path(__file__).parents[1] / "workflow" / "atlas"
HARM = "<img src=x onerror=window.harmed=1>"
"""Name of a class and of a file; taken for markup, it would leave a mark."""
STUDY_SPEC = ScoreSpec(top_n=8, null_draws=4, p_draws=40)
LAYERS = (1, 2, 3)
MAPPED = (0, 1)
"""Latents with relevancy maps, in the deepest trained dictionary."""
SPEC = PageSpec(images=8, classes=6, neighbours=4, latents=12, mcc_threshold=0.5, seed=0)
SETTINGS = {
    "top_n": 8,
    "tau": 0.9,
    "rho": 0.5,
    "mcc_threshold": 0.5,
    "null_draws": 4,
    "p_draws": 40,
    "fdr": 0.05,
}
PAIR_SCENES = 4
_CLASSES, _PER_CLASS, _GRID = 12, 20, 4


def make_taxonomy() -> Taxonomy:
    """Twelve classes in pairs, pairs in threes; one has two parents, another a harmful name."""
    leaves = [f"n{i:02d}" for i in range(_CLASSES)]
    parents: dict[str, list[str]] = {leaf: [f"pair{i // 2}"] for i, leaf in enumerate(leaves)}
    parents["n11"].append("pair0")
    parents |= {f"pair{i}": [f"six{i // 3}"] for i in range(_CLASSES // 2)}
    parents |= {"six0": ["all"], "six1": ["all"], "all": []}
    names = {"n00": HARM, "n01": "monarch.n.02", "pair0": "butterfly.n.01", "pair1": HARM}
    return taxonomy_from_parents(leaves, parents, names)


def make_index(folder: Path) -> ImageIndex:
    """Plain images, one colour a class; a file is called what harms."""
    paths, hashes = [], []
    folder.mkdir(parents=True)
    for label in range(_CLASSES):
        for number in range(_PER_CLASS):
            image = Image.new("RGB", (40, 30), (20 * label, 255 - 20 * label, 12 * number))
            content = BytesIO()
            image.save(content, "PNG")
            paths.append(f"{label}_{number}.png" if label or number else f"{HARM}.png")
            (folder / paths[-1]).write_bytes(content.getvalue())
            hashes.append(np.frombuffer(sha256_of(content.getvalue()), np.uint8))
    labels = np.repeat(np.arange(_CLASSES, dtype=np.int32), _PER_CLASS)
    return ImageIndex(
        np.array(paths, np.dtypes.StringDType()),
        labels,
        [f"n{i:02d}" for i in range(_CLASSES)],
        np.stack(hashes),
    )


def make_codes(taxonomy: Taxonomy, labels: np.ndarray, noise: float, seed: int) -> Codes:
    """A latent for each group and each class, one for a few images, and one that never fires."""
    nodes = [*inner_nodes(taxonomy), *np.flatnonzero(taxonomy.n_leaves == 1)]
    sets = [np.flatnonzero(taxonomy.ancestors[:, node]) for node in nodes]
    codes = noisy_codes(sets, labels, noise, seed)
    width = len(sets)
    image = np.append(codes.image, [3, 5]).astype(np.int32)
    latent = np.append(codes.latent, [width, width]).astype(np.int32)
    order = np.lexsort((latent, image))
    activation = np.append(codes.activation, [1, 2]).astype(np.float32)
    return Codes(image[order], latent[order], activation[order], len(labels), width + 2)


def make_atlas(folder: Path) -> Path:
    """Write a study and its atlas; return the folder of the atlas."""
    atlas = folder / "atlas"
    taxonomy, index = make_taxonomy(), make_index(folder / "images")
    draw_thumbnails(index, ImageFolder(str(folder / "images")), 32, atlas / "images" / "shapes")
    taxonomy.save(folder / "taxonomy.parquet")
    index.save(folder / "eval.parquet")
    drawn = pd.DataFrame({"wnid": ["pair0", "six0"], "drawn": [True, False], "reason": ["", HARM]})
    drawn.to_csv(folder / "drawn.csv", index=False)

    tests = make_pairs(folder / "pairs", atlas)
    rows, probes = [], []
    groups: dict[int, dict[str, str]] = {layer: {} for layer in LAYERS}
    for experiment, variant, layer, seed in _sweep():
        name = f"{experiment}/dictionaries/cls/L{layer}/{variant}/w20_k4_s{seed}"
        noise = 0.6 if experiment == "random" else 0.7 / layer + (0.2 if variant == "pca" else 0)
        codes = make_codes(taxonomy, index.labels, noise, 10 * layer + seed)
        scores = score_dictionary(codes, index.labels, taxonomy, STUDY_SPEC)
        random = np.random.default_rng([layer, 0])
        decoder = random.normal(size=(codes.width, 16)).astype(np.float32)
        decoder[codes.width // 2 :] += seed * random.normal(size=16).astype(np.float32)
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        weights = folder / f"{len(rows)}.safetensors"
        dictionary = dictionary_of(decoder)
        dictionary.save(weights, {})
        if (experiment, variant) == ("trained", "topk"):
            groups[layer][name] = str(weights)
        places, causes = Places(crop=0.9), Causes()
        if (experiment, variant, layer, seed) == ("trained", "topk", LAYERS[-1], 0):
            maps = write_maps_table(codes, folder / "relevancy.parquet")
            masks = write_segmentation_table(taxonomy, folder / "segmentation.parquet")
            positions = write_positions(codes, folder / "positions.parquet")
            places = Places(maps, masks, positions, 0.9)
            ablation = write_ablation_table(taxonomy, folder / "ablation.parquet")
            causes = Causes(ablation, tests, folder / "pair_nodes.parquet")
            score_study_pairs(tests, dictionary, scores).save(
                folder / "pairs.parquet", folder / "pair_nodes.parquet"
            )
        tables = {kind: getattr(scores, kind) for kind in ("latents", "nodes", "relations")}
        DictionaryPages(codes, index.labels, taxonomy, dictionary, tables, SPEC).save(
            atlas / "dictionaries" / page_folder(name), places, causes
        )
        rows.append(
            {
                "dictionary": name,
                "experiment": experiment,
                "dataset": "shapes",
                "model": "none",
                "weights": "random" if experiment == "random" else "file",
                "token": "cls",
                "layer": layer,
                "variant": variant,
                "width": codes.width,
                "sparsity": None if variant == "pca" else 4,
                "seed": None if variant == "pca" else seed,
                "fve": 0.5,
                "git_commit": HARM,
                **scores.scores,
            }
        )
        probes += [
            {
                "experiment": experiment,
                "token": "cls",
                "layer": layer,
                "wnid": wnid,
                "probe_mcc": 0.1 * layer,
                "probe_held_out": 0.05 * layer,
            }
            for wnid in scores.nodes["wnid"].to_pylist()
        ]
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    pd.DataFrame(probes).drop_duplicates().to_csv(folder / "probes.csv", index=False)
    match_seeds([*groups.values()], folder / "recurrence.parquet")
    datasets = {
        "shapes": {
            "taxonomy": str(folder / "taxonomy.parquet"),
            "index": str(folder / "eval.parquet"),
            "drawn": str(folder / "drawn.csv"),
        }
    }
    shown = next(row["dictionary"] for row in rows if row["layer"] == LAYERS[-1])
    build_atlas(
        Study(
            folder / "metrics.csv",
            folder / "probes.csv",
            [str(folder / "recurrence.parquet")],
            datasets,
            atlas / "dictionaries",
        ),
        {**SETTINGS, "shown": shown},
        PAGES,
        {name: str(atlas / path) for name, path in _outputs().items()},
    )
    return atlas


def write_maps_table(codes: Codes, path: Path) -> Path:
    """Write a `relevancy.parquet` of two latents, two images and two methods."""
    random = np.random.default_rng(0)
    rows = [
        {
            "chosen": "best",
            "latent": latent,
            "image": int(image),
            "method": method,
            "relevancy": random.random(_GRID**2),
            "deletion": [1.0, 0.5, 0.0],
            "insertion": [0.0, 1.0, 1.0],
            "object_share": 0.5,
            "object_area": 0.25,
        }
        for method in ("relevancy", "shuffled")
        for latent in MAPPED
        for image in _strongest(codes, latent, 2)
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.replace_schema_metadata({"rows": "4", "columns": "4"}), path)
    return path


def write_positions(codes: Codes, path: Path) -> Path:
    """Keep where latents fire on every other image: all of the activation on one of its patches."""
    images = np.arange(0, codes.n_images, 2)
    x = np.zeros((len(images), _GRID**2, codes.width), np.float32)
    shown = np.isin(codes.image, images)
    image, latent = codes.image[shown], codes.latent[shown]
    patch = (image + latent) % _GRID**2
    x[image // 2, patch, latent] = codes.activation[shown]
    # A third of it on the patch behind.
    x[image // 2, (patch + 1) % _GRID**2, latent] = codes.activation[shown] / 3
    axes = dictionary_of(np.eye(codes.width, dtype=np.float32))
    keep_positions(axes, [x[:50], x[50:]], images, (_GRID, _GRID), path)
    return path


def write_segmentation_table(taxonomy: Taxonomy, path: Path) -> Path:
    """Write a `segmentation.parquet`: latent 3 finds the first two nodes, none the others.

    The first is found better than by who knows the image, the second is not; masks show a class
    that no image is labelled with, too.
    """
    nodes = inner_nodes(taxonomy)
    rows = [
        {
            "kind": "node",
            "wnid": taxonomy.nodes[node],
            "name": taxonomy.names[node],
            "height": 1,
            "n_leaves": int(taxonomy.n_leaves[node]),
            "latent": 3 if place < 2 else None,
            "patches": 40 + place,
            "precision": (0.6, 0.3)[place] if place < 2 else 0.1,
            "probe_r": 0.2,
            "purity_16": 0.75,
            "chance": 0.1,
            "image_level": 0.4,
            "precision_null_permuted": 0.5 if place == 0 else 0.35,
        }
        for place, node in enumerate(nodes)
    ]
    rows.append({**rows[0], "kind": "class", "wnid": "sky", "precision_null_permuted": None})
    rows.append({**rows[1], "kind": "class", "wnid": "n02", "precision": None})
    about = {"n_images": 96, "n_patches": 96 * 16, "n_latents": 22}
    write_about(pa.Table.from_pylist(rows, SEGMENTATION), about, path)
    return path


def study_pairs() -> pd.DataFrame:
    """Pairs of two groups: one with a shared and an own part, one with an own part alone."""
    # Of scene n images 4n (whole), 4n + 1 (no shared part), 4n + 2 (no own part), 4n + 3 (another).
    rows = [
        (4 * scene + end, 4 * scene, node, change, 0.1)
        for scene in range(PAIR_SCENES)
        for node, end, change in (
            ("pair0", 1, ADDED),
            ("pair0", 2, LEAF),
            ("pair0", 3, WITHIN),
            ("pair0", 3, ACROSS),
            ("six0", 2, LEAF),
        )
    ]
    return pd.DataFrame(rows, columns=["image", "counterpart", "node", "change", "pixel_change"])


def make_pairs(folder: Path, atlas: Path) -> PairTests:
    """Draw the images of the pairs, called what harms, and their activations."""
    folder.mkdir()
    names, n = [], 4 * PAIR_SCENES
    for number in range(n):
        names.append(f"{HARM}{number}.png")
        Image.new("RGB", (40, 40), (255, 10 * number, 0)).save(folder / names[-1])
    hashes = [sha256_of((folder / name).read_bytes()) for name in names]
    index = ImageIndex(
        np.array(names, np.dtypes.StringDType()),
        np.zeros(n, np.int32),
        ["pair"],
        np.stack([np.frombuffer(value, np.uint8) for value in hashes]),
    )
    draw_thumbnails(index, ImageFolder(str(folder)), 32, atlas / "images" / "shapes.pairs")
    x = np.random.default_rng(5).normal(size=(n, 2, 16)).astype(np.float32)
    return PairTests(Contrasts.of(study_pairs()), [x[:5], x[5:]], n)


def score_study_pairs(
    tests: PairTests, dictionary: Dictionary, scores: DictionaryScores
) -> PairScores:
    """Score the best latents of the groups on the pairs."""
    return score_pairs(
        tests.contrasts,
        scores.nodes.to_pandas(),
        scores.latents.to_pandas(),
        lambda latents: firing(dictionary, tests.blocks, latents),
        seed=0,
    )


def write_ablation_table(taxonomy: Taxonomy, path: Path) -> Path:
    """Write an `ablation.parquet`: a node's latent is the one of its place, its measures random.

    Of the first node every null stays below what is taken away, of the second one is above it.
    """
    random = np.random.default_rng(2)
    rows = []
    for place, node in enumerate(inner_nodes(taxonomy)):
        for n, kind in product((1, 2), TAKING):
            level = 0.5 if kind == "chosen" else (0.7 if place and kind == "shrunk" else 0.1)
            for draw in (1, 2) if kind in REARRANGED else (None,):
                measures = dict(zip(MEASURES, random.random(len(MEASURES)), strict=True))
                rows.append(
                    {
                        "wnid": taxonomy.nodes[node],
                        "name": taxonomy.names[node],
                        "n_leaves": int(taxonomy.n_leaves[node]),
                        "n_latents": n,
                        "kind": kind,
                        "draw": draw,
                        "latents": [place, place + 8][:n],
                        **measures,
                        "selectivity": level,
                        "steered": None,
                    }
                )
    about = {"readout": "head", "accuracy": 0.75, "n_images": 96, "n_copies": 5, "tpp": {}}
    table = pa.Table.from_pylist(rows, SCHEMA)
    pq.write_table(table.replace_schema_metadata({"about": json.dumps(about)}), path)
    return path


def _strongest(codes: Codes, latent: int, n: int) -> np.ndarray:
    mine = codes.latent == latent
    return codes.image[mine][np.argsort(-codes.activation[mine], kind="stable")[:n]]


def _sweep() -> list[tuple[str, str, int, int]]:
    trained = [("trained", "topk", layer, seed) for layer in LAYERS for seed in (0, 1)]
    pca = [("trained", "pca", layer, 0) for layer in LAYERS]
    return [*trained, *pca, ("random", "topk", LAYERS[-1], 0)]


def _outputs() -> dict[str, str]:
    return {"index": "index.html", "pages": "pages", "shared": "shared"}


def dictionary_of(decoder: np.ndarray) -> Dictionary:
    """Return a dictionary that reads along the rows that it writes along."""
    width, d = decoder.shape
    return Dictionary(
        encoder=decoder,
        encoder_bias=np.zeros(width, np.float32),
        decoder=decoder,
        decoder_bias=np.zeros(d, np.float32),
        mean=np.zeros(d, np.float32),
        scale=1.0,
    )
