"""The numeric tests, and a small study, as on processors with fewer instructions than this one.

    .venv/bin/python tests/processors.py test sse avx2
    .venv/bin/python tests/processors.py study sse avx2 avx2.numba

Whatever computes here chooses its code by the processor, and can be told to leave newer
instructions alone: all of it (`avx2`: most laptops, AMD's servers before Zen 4), or one library
(`avx2.numba`). Every setting has processes of its own and its own cache of compiled code. What this
machine cannot run is left out, with a message.

`test` runs the tests of what rounds. `study` makes a small study, from images to scores, on the
machine as it is, and with each setting twice: every stage from what the machine itself has made of
the stage before, and the whole. It tells what differs. docs/reproducibility.md has the outcome.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from llvmlite import binding
from safetensors.numpy import load_file

from cladescope.activations.extract import extract_activations
from cladescope.activations.spec import Extraction, ExtractionSpec
from cladescope.activations.store import ActivationStore, read_activations
from cladescope.backbone.backbone import BackboneSpec
from cladescope.codes.codes import Codes
from cladescope.codes.encode import ImageBlocks, encode
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.train import Target, open_source, train_dictionaries
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.files import read_json, write_json
from cladescope.images.index import ImageIndex
from cladescope.images.indexing import index_images
from cladescope.images.sources.image_folder import ImageFolder
from cladescope.planted.rendering import PlantedSpec, render_split
from cladescope.scores.score import DictionaryScores, score_dictionary
from cladescope.scores.spec import ScoreSpec
from cladescope.sweep import SUPERVISED, DictionarySpec
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.wordnet import build_taxonomy

ROOT = Path(__file__).parents[1]

PROCESSORS = {
    "sse": {
        "numba": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        "numpy": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
        "openblas": {"OPENBLAS_CORETYPE": "Nehalem"},
        "torch": {"ATEN_CPU_CAPABILITY": "default"},
        "mkl": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
        "onednn": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        "libm": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"},
    },
    "avx2": {
        "numba": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
        "numpy": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
        "openblas": {"OPENBLAS_CORETYPE": "Haswell"},
        "torch": {"ATEN_CPU_CAPABILITY": "avx2"},
        "mkl": {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
        "onednn": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    },
    "avx512": {
        "numba": {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": ""},
        "numpy": {"NPY_DISABLE_CPU_FEATURES": "AVX512_ICL AVX512_SPR"},
        "openblas": {"OPENBLAS_CORETYPE": "SkylakeX"},
        "torch": {"ATEN_CPU_CAPABILITY": "avx512"},
        "mkl": {"MKL_ENABLE_INSTRUCTIONS": "AVX512"},
        "onednn": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    },
}
"""Environment variables by processor and library. An empty list of features stands for those of the
named processor: numba would else add all that this machine has."""
NEEDS = {"sse": "sse2", "avx2": "avx2", "avx512": "avx512f"}
OWN = "own"
"""The setting that leaves everything as it is."""

NUMERIC = (
    "activations",
    "backbone",
    "compiled",
    "controls",
    "dictionary",
    "kmeans",
    "packs",
    "probes",
    "saliency",
    "scores",
    "screening",
    "topk",
    "training",
)
"""Tests of what rounds."""

LAYER = 8
RECIPE = Recipe(100_000, 256, 5e-3, 0.05, 0.4, 0.005, 0.1, 1 / 32)
TRAINED = [
    DictionarySpec("study", "cls", LAYER, variant, width, sparsity, 0)
    for variant, width, sparsity in (
        ("topk", 64, 4),
        ("topk", 128, 8),
        ("batchtopk", 64, 4),
        ("matryoshka", 64, 4),
        ("jumprelu", 64, 4),
        ("relu", 64, 0.5),
        ("tree", 64, 8),
        ("matching_pursuit", 64, 4),
        ("hsae", 64, 4),
        ("archetypal", 64, 4),
        ("hierarchical_topk", 64, 4),
        ("ortsae", 64, 4),
        ("tied", 64, 4),
        ("aligned", 64, 4),
        ("likeness", 64, 4),
        ("frozen_decoder", 64, 4),
        ("frozen_encoder", 64, 4),
        ("soft_frozen", 64, 4),
    )
]
CONTROLS = [
    DictionarySpec("study", "cls", LAYER, "start", 64, 4, 0),
    DictionarySpec("study", "cls", LAYER, "random", 64, 4, 0),
    DictionarySpec("study", "cls", LAYER, "class_means", sparsity=4),
    DictionarySpec("study", "cls", LAYER, "node_means", sparsity=4),
    DictionarySpec("study", "cls", LAYER, "kmeans", 64, 4, 0),
    DictionarySpec("study", "cls", LAYER, "neurons"),
    DictionarySpec("study", "cls", LAYER, "pca"),
]
ENTRIES = [*TRAINED, *CONTROLS]
SPEC = ScoreSpec(top_n=8, null_draws=20, p_draws=100, shuffle_draws=2)
SPLITS = {"train": 24, "eval": 24}
"""Images a class."""


def environment(setting: str, cache: Path) -> dict[str, str]:
    """What a process of a setting has in addition to its surroundings."""
    processor, _, library = setting.partition(".")
    parts = {} if setting == OWN else PROCESSORS[processor]
    chosen = [parts[library]] if library else parts.values()
    return {k: v for part in chosen for k, v in part.items()} | {"NUMBA_CACHE_DIR": str(cache)}


def possible(settings: list[str]) -> Iterator[str]:
    """Yield the settings that this machine can run, and say which it cannot."""
    features = binding.get_host_cpu_features()
    for setting in settings:
        if setting == OWN or features.get(NEEDS[setting.partition(".")[0]]):
            yield setting
        else:
            print(f"{setting}: not on this machine", flush=True)


def test(settings: list[str], folder: Path) -> bool:
    """Run the numeric tests with each setting; return whether all pass."""
    files = [next((ROOT / "tests").rglob(f"test_{name}.py")) for name in NUMERIC]
    command = [sys.executable, "-m", "pytest", "--numprocesses", "2"]
    passed = True
    for setting in settings:
        print(f"\n{setting}", flush=True)
        surroundings = os.environ | environment(setting, folder / setting)
        run = subprocess.run([*command, *files], env=surroundings, check=False)
        passed &= run.returncode == 0
    return passed


def draw(folder: Path, _: Path) -> None:
    """Draw the images, index them, build their taxonomy."""
    for split, number in SPLITS.items():
        images = folder / "images" / split
        render_split(PlantedSpec(), split, number, images, folder / f"{split}.factors.parquet")
        index_images(ImageFolder(str(images)))[0].save(folder / f"{split}.parquet")
    wnids = ImageIndex.load(folder / "eval.parquet").wnids
    build_taxonomy(wnids, ROOT / "resources/nltk_data").save(folder / "taxonomy.parquet")


def extract(folder: Path, before: Path) -> None:
    """Extract the last layer's class token."""
    weights = str(ROOT / "resources/planted_vit/s0.safetensors")
    backbone = BackboneSpec("vit_planted", weights, blocks=LAYER)
    spec = ExtractionSpec(shards=1, precision="float32", batch_size=256)
    for split in SPLITS:
        index = ImageIndex.load(before / f"{split}.parquet")
        source = ImageFolder(str(before / "images" / split))
        manifests = {(LAYER, "cls"): folder / f"{split}.json"}
        extract_activations(Extraction(index, source, backbone, spec), manifests)


def train(folder: Path, before: Path) -> None:
    """Train two dictionaries of TopK's and one of every other kind."""
    source = open_source(before / "train.json")
    files = {"index": before / "train.parquet", "taxonomy": before / "taxonomy.parquet"}
    for entry in ENTRIES:
        weights = folder / entry.folder / "sae.safetensors"
        weights.parent.mkdir(parents=True)
        recipe = RECIPE if entry in TRAINED else None
        spec = FitSpec(entry.width, entry.sparsity, entry.seed, recipe)
        told = {name: files[name] for name in SUPERVISED.get(entry.variant, ())}
        train_dictionaries(entry.variant, source, [Target(spec, weights, key="")], told=told)


def encode_images(folder: Path, before: Path) -> None:
    """Encode the evaluation images."""
    labels = ImageIndex.load(before / "eval.parquet").labels
    for entry in ENTRIES:
        dictionary = Dictionary.load(before / entry.folder / "sae.safetensors")
        blocks = ImageBlocks(ActivationStore.open(before / "eval.json"))
        codes, quality = encode(dictionary, blocks, labels)
        (folder / entry.folder).mkdir(parents=True, exist_ok=True)
        codes.save(folder / entry.folder / "codes.parquet")
        write_json(folder / entry.folder / "quality.json", quality)


def score(folder: Path, before: Path) -> None:
    """Score the dictionaries."""
    labels = ImageIndex.load(before / "eval.parquet").labels
    taxonomy = Taxonomy.load(before / "taxonomy.parquet")
    for entry in ENTRIES:
        codes = Codes.load(before / entry.folder / "codes.parquet")
        (folder / entry.folder).mkdir(parents=True, exist_ok=True)
        score_dictionary(codes, labels, taxonomy, SPEC).save(folder / entry.folder, "any")


STAGES = (draw, extract, train, encode_images, score)


def make(folder: Path, before: Path | None) -> None:
    """Run every stage on what `before` holds, or else on what the stages before it have made."""
    folder.mkdir()
    for stage in STAGES:
        stage(folder, before or folder)


def study(settings: list[str], folder: Path) -> bool:
    """Tell what differs with each setting; return whether what must not differ does not."""
    own = folder / "machine"
    in_a_process(OWN, own, None)
    exact = True
    for setting in settings:
        print(f"\n{setting}", flush=True)
        parts, whole = folder / f"{setting}-parts", folder / f"{setting}-whole"
        in_a_process(setting, parts, own)
        in_a_process(setting, whole, None)
        drawn = [*own.glob("*.parquet"), *own.glob("images/**/*.png")]
        scored = ("scores.json", *(f"{name}.parquet" for name in DictionaryScores._fields[:-1]))
        scores = [own / entry.folder / name for entry in ENTRIES for name in scored]
        for what, files in (("images, index, taxonomy", drawn), ("scores of the codes", scores)):
            same = [p.read_bytes() == (parts / p.relative_to(own)).read_bytes() for p in files]
            print(f"  {what}: {sum(same)} of {len(same)} files have the same bytes", flush=True)
            exact &= all(same)
        for what, other in (("every stage from the machine's own files", parts), ("all", whole)):
            print(f"  {what}:", *differences(own, other), sep="\n    ", flush=True)
    return exact


def in_a_process(setting: str, folder: Path, before: Path | None) -> None:
    """Make the study with a setting."""
    cache = folder.with_name(f"{setting}-cache")
    process = multiprocessing.get_context("spawn").Process(target=make, args=(folder, before))
    with mock.patch.dict(os.environ, environment(setting, cache)):
        process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{setting} failed")


def differences(one: Path, two: Path) -> Iterator[str]:
    """Yield how the activations, and what is made of them, differ between two studies."""
    x, y = (read_activations(results / "eval.json") for results in (one, two))
    apart = np.abs(x - y).max() / np.sqrt(np.square(x, dtype=float).mean())
    yield f"activations at most {apart:.0e} of their root mean square apart"
    for entry in ENTRIES:
        yield f"{entry.variant}/{entry.name}: " + "; ".join(of_dictionary(entry, one, two))


def of_dictionary(entry: DictionarySpec, one: Path, two: Path) -> Iterator[str]:
    """Yield how a dictionary, its codes and scores differ."""
    folders = [results / entry.folder for results in (one, two)]
    decoders = [load_file(folder / "sae.safetensors")["decoder"] for folder in folders]
    yield f"decoder {np.abs(decoders[0] - decoders[1]).max():.0e}"
    codes = [Codes.load(folder / "codes.parquet") for folder in folders]
    fired = [set(zip(c.image.tolist(), c.latent.tolist(), strict=True)) for c in codes]
    yield f"{len(fired[0] ^ fired[1])} of {len(fired[0])} firings"
    if fired[0] == fired[1]:
        z = [c.activation for c in codes]
        yield f"values within {np.abs(z[0] - z[1]).max():.0e}"
    scores = [read_json(folder / "scores.json") for folder in folders]
    for name in ("node_recovery", "best_internal_mcc", "coherent_share", "pair_lch_contracted"):
        if scores[0][name] != scores[1][name]:
            yield f"{name} {scores[0][name]:.4f}, {scores[1][name]:.4f}"
    ranks = []
    for folder in folders:
        nodes = pd.read_parquet(folder / "nodes.parquet")
        nodes = nodes[nodes["recovered"]].sort_values(["best_mcc", "wnid"], ascending=False)
        ranks.append(nodes["wnid"].tolist())
    yield f"{len(ranks[0])} nodes, " + ("in the same order" if ranks[0] == ranks[1] else "others")


def main() -> None:
    """Read the options; the exit code tells whether all is as it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["test", "study"])
    single = [f"{name}.{library}" for name, parts in PROCESSORS.items() for library in parts]
    parser.add_argument("settings", nargs="+", choices=[OWN, *PROCESSORS, *single])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = {"test": test, "study": study}[options.what]
        sys.exit(not done(list(possible(options.settings)), Path(folder)))


if __name__ == "__main__":
    main()
