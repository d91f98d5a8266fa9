"""Time and memory of the scores at the size of ImageNet-1k's validation split.

    .venv/bin/python benchmarks/scores.py

Codes are made up: 32 latents fire on an image, a third because of its class's hypernyms. Reports
the whole job at 16,384 latents (in processes of their own, after one that compiles), growth with
latents and with draws (processor seconds, median of interleaved rounds), and the lowest common
hypernyms of top sets against NLTK's, chained over the images of each set.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from timm.data import ImageNetInfo

from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.scores.halves import halve
from cladescope.scores.lch import images_needed, lowest_common
from cladescope.scores.score import score_dictionary
from cladescope.scores.spec import ScoreSpec
from cladescope.taxonomy import wordnet
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree

NLTK_DATA = Path(__file__).parents[1] / "resources" / "nltk_data"
N_IMAGES, K = 50_000, 32
ROUNDS = 3
NLTK_SETS = 50


def imagenet_taxonomy() -> Taxonomy:
    """ImageNet-1k's taxonomy, in timm's order of the classes."""
    return wordnet.build_taxonomy(ImageNetInfo("imagenet-1k").label_names(), NLTK_DATA)


def made_up_codes(taxonomy: Taxonomy, width: int, share: float) -> tuple[Codes, np.ndarray]:
    """As many firings for each latent; a share of them on images of a random node's classes."""
    random = np.random.default_rng(0)
    labels = np.arange(N_IMAGES) % len(taxonomy.leaves)
    size = N_IMAGES * K // width
    latent = np.repeat(np.arange(width), size)
    image = random.integers(0, N_IMAGES, (width, size))
    for row, node in zip(image, random.choice(taxonomy.contracted, width), strict=True):
        own = int(share * size)
        label = random.choice(np.flatnonzero(taxonomy.ancestors[:, node]), own)
        row[:own] = label + len(taxonomy.leaves) * random.integers(0, 50, own)
    key = np.unique(image.ravel() * width + latent)
    activation = random.random(len(key)).astype(np.float32) + 0.1
    image, latent = (key // width).astype(np.int32), (key % width).astype(np.int32)
    return Codes(image, latent, activation, N_IMAGES, width), labels


def time_job(width: int, threads: int, spec: ScoreSpec) -> None:
    """Score one dictionary; print wall and processor seconds and the peak memory in GB."""
    taxonomy = imagenet_taxonomy()
    codes, labels = made_up_codes(taxonomy, width, share=1 / 3)
    start, cpu = time.perf_counter(), time.process_time()
    result = score_dictionary(codes, labels, taxonomy, spec, threads=threads)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.1f} {cpu:.1f} {memory:.2f} {result.scores['n_scored']}")


def in_a_process(width: int, threads: int = 1, **draws: int) -> tuple[float, float, float, int]:
    """Run `time_job` in a process of its own."""
    options = [f"{name}={value}" for name, value in draws.items()]
    command = [sys.executable, __file__, "--job", str(width), *options]
    command += ["--threads", str(threads)]
    seconds, cpu, memory, n_scored = subprocess.check_output(command, text=True).split()
    return float(seconds), float(cpu), float(memory), int(n_scored)


def compare_with_nltk(taxonomy: Taxonomy) -> None:
    """Time the LCH of top sets against `lowest_common_hypernyms`, chained over their images.

    Nearly all images of a latent follow its node; for random images NLTK reaches the root at once.
    """
    codes, labels = made_up_codes(taxonomy, 16_384, share=0.95)
    tree = Tree.of(taxonomy)
    halves = halve(strongest_first(codes, 0), labels, len(taxonomy.leaves), 64)
    needed = images_needed(np.full(len(halves.scored), 64), 1.0)
    with wordnet.open_wordnet(NLTK_DATA) as reader:
        synsets = [
            reader.synset_from_pos_and_offset("n", int(wnid[1:])) for wnid in taxonomy.leaves
        ]
        ratios = []
        lowest_common(halves.choose.class_counts(64), needed, tree)  # compiles
        for _ in range(ROUNDS):
            start = time.perf_counter()
            counts = replace(halves.choose).class_counts(64)  # a copy, which has kept no counts
            found = lowest_common(counts, needed, tree)
            ours = (time.perf_counter() - start) / len(found)
            start = time.perf_counter()
            for latent in range(NLTK_SETS):
                first = halves.choose.start[latent]
                common = [synsets[c] for c in halves.choose.label[first : first + 64][:1]]
                for c in halves.choose.label[first + 1 : first + 64]:
                    common = common[0].lowest_common_hypernyms(synsets[c])
            theirs = (time.perf_counter() - start) / NLTK_SETS
            ratios.append(theirs / ours)
    print(
        f"LCH of the top 64 images: {ours * 1e6:.1f} us a latent, NLTK chained {theirs * 1e3:.1f} "
        f"ms: {statistics.median(ratios):,.0f} x (rounds {min(ratios):,.0f}-{max(ratios):,.0f})"
    )


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if job := arguments.job:
        draws = {name: int(value) for name, value in (option.split("=") for option in job[1:])}
        return time_job(int(job[0]), arguments.threads, replace(ScoreSpec(), **draws))
    in_a_process(256, null_draws=1, p_draws=1)
    required = {"null_draws": 100, "p_draws": 100}
    for title, draws in (("100 draws of the leaves", required), ("the defaults", {})):
        seconds, cpu, memory, n_scored = in_a_process(16_384, threads=2, **draws)
        print(
            f"16,384 latents ({n_scored:,} scored), {title}, two threads: {seconds} s, {cpu} "
            f"processor seconds, {memory} GB at most"
        )
    points = [(w, 100) for w in (4096, 8192, 16_384)] + [(8192, d) for d in (50, 200, 400)]
    times: dict[tuple[int, int], list[float]] = {point: [] for point in points}
    for _ in range(ROUNDS):
        for width, draws in points:
            job = in_a_process(width, null_draws=draws, p_draws=draws, bootstrap_draws=0)
            times[width, draws].append(job[1])
    for (width, draws), seconds in times.items():
        median = statistics.median(seconds)
        print(f"{width} latents, {draws} draws: {median:.1f} processor seconds {seconds}")
    compare_with_nltk(imagenet_taxonomy())


if __name__ == "__main__":
    main()
