"""Dictionaries on a hand-made hierarchical source, whose nodes, edges and codes are known.

    .venv/bin/python benchmarks/hierarchy.py --paths 1 2 4

A tree of directions: a child's is its parent's plus an offset at random. A row is the sum, over
some roots at random, of the direction of a node below, with an amplitude, and noise: all nodes on
the way down to it are its true code. With one path a row, rows lie in clusters; with several they
do not, and clusters cannot stand for nodes. One line a variant and number of paths, means over
seeds (least and largest):

- nodes: nodes v with a latent whose firing has an MCC with v of .5 or more, on rows that it was not
  chosen on; own: of these, one whose MCC with every child of v is less;
- edges: of all pairs of parent and child, those whose finders are two latents, the child's firing
  with the parent's in 9 of 10 cases or more and less often the other way round;
- codes: mean MCC of the nodes with their finders.
"""

import argparse
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from cladescope.codes.encode import encode
from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.spec import FitSpec, Recipe

RECIPE = Recipe(200_000, 256, 0.005, 0.05, 0.4, 0.005, 0.1, 1 / 32)
"""The embedded default's."""
TRAIN, EVALUATION = 20_000, 8_000
OFFSET = 0.7
"""Length of a child's offset beside its parent's, whose own is 1 at the root."""
NOISE = 0.05
RECOVERED, IMPLIED = 0.5, 0.9
VARIANTS = (
    *("kmeans", "topk", "batchtopk", "matryoshka", "jumprelu", "tree", "matching_pursuit", "hsae"),
    *("archetypal", "hierarchical_topk", "ortsae", "tied", "aligned", "start"),
)
"""Clustering, which is to be beaten, and what is trained for k latents a row."""


class World(NamedTuple):
    """Rows, and which nodes each has."""

    x: Float[np.ndarray, "rows d"]
    code: Bool[np.ndarray, "rows nodes"]
    parent: Int[np.ndarray, " nodes"]
    """−1 for roots."""


def world(d: int, roots: int, branching: int, depth: int, paths: int, seed: int) -> World:
    """Draw a tree and its rows."""
    random = np.random.default_rng(seed)
    parent, first, level = np.full(roots, -1), 0, roots
    for _ in range(depth - 1):
        parent = np.concatenate([parent, np.repeat(np.arange(first, first + level), branching)])
        first, level = first + level, level * branching
    direction = random.standard_normal((len(parent), d)) / d**0.5
    above = np.zeros((len(parent), len(parent)), bool)
    for node, over in enumerate(parent):
        above[node, node] = True
        if over >= 0:
            direction[node] = direction[over] + OFFSET * direction[node]
            above[node] |= above[over]
    root = above.argmax(1)
    n = TRAIN + EVALUATION
    x = NOISE * random.standard_normal((n, d))
    code = np.zeros((n, len(parent)), bool)
    chosen = random.random((n, roots)).argsort(1)[:, :paths]
    for column in chosen.T:
        node = np.empty(n, np.int64)
        for start in range(roots):
            rows = np.flatnonzero(column == start)
            node[rows] = random.choice(np.flatnonzero(root == start), len(rows))
        x += random.uniform(0.7, 1.3, (n, 1)) * direction[node]
        code |= above[node]
    return World(x.astype(np.float32), code, parent)


def mcc(fires: Bool[np.ndarray, "rows width"], code: Bool[np.ndarray, "rows nodes"]) -> np.ndarray:
    """Return the MCC of every latent with every node; 0 where either is constant."""
    n, f, c = len(code), fires.astype(np.float64), code.astype(np.float64)
    p, q = f.mean(0)[:, None], c.mean(0)
    spread = np.sqrt(p * (1 - p) * q * (1 - q))
    return np.divide(f.T @ c / n - p * q, spread, out=np.zeros(spread.shape), where=spread > 0)


def recovery(
    fires: Bool[np.ndarray, "rows width"], code: Bool[np.ndarray, "rows nodes"], parent: np.ndarray
) -> dict[str, float]:
    """Choose on the even rows, measure on the odd ones."""
    choose, score = (mcc(fires[half::2], code[half::2]) for half in (0, 1))
    finder, nodes = choose.argmax(0), np.arange(len(parent))
    found = score[finder, nodes]
    is_found = (choose[finder, nodes] >= RECOVERED) & (found >= RECOVERED)
    finds = (choose >= RECOVERED) & (score >= RECOVERED)
    own = finds.copy()
    for child in nodes[parent >= 0]:
        over = parent[child]
        own[:, over] &= (choose[:, over] > choose[:, child]) & (score[:, over] > score[:, child])
    odd = fires[1::2].astype(np.float64)
    child = nodes[parent >= 0]
    low, high = finder[child], finder[parent[child]]
    together = (odd[:, low] * odd[:, high]).sum(0)
    up, down = (together / np.maximum(odd[:, one].sum(0), 1) for one in (low, high))
    edges = is_found[child] & is_found[parent[child]] & (low != high)
    edges &= (up >= IMPLIED) & (up > down)
    return {
        "nodes": finds.any(0).mean(),
        "own": own.any(0).mean(),
        "edges": edges.mean(),
        "codes": found.mean(),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("d", 64), ("roots", 8), ("branching", 4), ("depth", 3), ("width", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--paths", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    shape = (options.d, options.roots, options.branching, options.depth)
    print("paths variant k | nodes own edges codes fve l0")
    for paths in options.paths:
        # As many latents as nodes are on the paths, and some for amplitudes.
        k = 4 * options.depth * paths // 2
        for variant in options.variants:
            rows = []
            for seed in options.seeds:
                made = world(*shape, paths, seed)
                spec = FitSpec(options.width, k, seed, RECIPE)
                found = fit_dictionary(variant, InMemory(made.x[:TRAIN]), spec).dictionary
                held_out, code = made.x[TRAIN:], made.code[TRAIN:]
                fires = found.encode(found.normalise(held_out)) > 0
                _, quality = encode(found, [held_out[:, None]], np.zeros(EVALUATION, int))
                scores = recovery(fires, code, made.parent)
                rows.append(scores | {name: quality[name] for name in ("fve", "l0")})
            cells = [
                f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
                for values in ([row[name] for row in rows] for name in rows[0])
            ]
            print(f"| {paths} | {variant} | {k} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
