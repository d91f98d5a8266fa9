"""TopK SAE training beside other libraries: speed, memory, held-out quality, dead latents.

In an environment of its own, with the peers:

    make peers
    .venv-peers/bin/python benchmarks/sae.py speed --d 384 768 \
        --width 4096 16384
    .venv-peers/bin/python benchmarks/sae.py tune --d 384 --width 2048 \
        --batch 2048 --samples 983040 --rates .5 1 2 4
    .venv-peers/bin/python benchmarks/sae.py quality --d 384 --width 2048 \
        --batch 2048 --samples 983040 --worlds 1 2 3 --rate sae_lens=16 sparsify=1
    .venv-peers/bin/python benchmarks/sae.py quality --width 256 --k 8 \
        --batch 256 --samples 200000 --activations results/demo/trained/activations/{}/cls/L8.json

Every contestant works in a process of its own; they take turns, round by round, so that a change of
the machine's load meets all of them. Ratios are medians over rounds of ratios within a round.
`tune` finds each contestant's best learning rate on world 0; `quality` compares on other worlds.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from math import nan
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np

TRAIN, HELD_OUT = 65_536, 16_384
TRUE_LATENTS, TRUE_L0 = 4096, 24
OURS = ("plain", "cladescope", "cladescope_float32", "cladescope_device")
PEERS = ("sparsify", "dictionary_learning", "sae_lens", "overcomplete")
SPEED_STEPS = 250
"""Length of the run whose first steps are timed: what is done about dead latents depends on it."""


def synthetic(d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return train and held-out rows made of a known dictionary, and its rows (n, d).

    Non-negative coefficients, frequencies that fall as a power of the rank, a mean and noise.
    """
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((TRUE_LATENTS, d), dtype=np.float32)
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    rate = (np.arange(TRUE_LATENTS) + 20.0) ** -0.8
    rate = np.minimum(rate * TRUE_L0 / rate.sum(), 0.5)
    mean = rng.standard_normal(d).astype(np.float32) / 2
    blocks = []
    for _ in range(0, TRAIN + HELD_OUT, 4096):
        fires = rng.random((4096, TRUE_LATENTS), dtype=np.float32) < rate
        size = np.abs(rng.standard_normal((4096, TRUE_LATENTS), dtype=np.float32)) + 0.5
        noise = rng.standard_normal((4096, d), dtype=np.float32)
        blocks.append(np.where(fires, size, np.float32(0)) @ truth + mean + 0.08 * noise)
    x = _standardised(np.concatenate(blocks))
    return x[:TRAIN], x[TRAIN:], truth


def stored(pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """Return train and evaluation rows of an activation store, standardised alike."""
    from cladescope.activations.store import read_activations

    parts = [read_activations(pattern.format(split)) for split in ("train", "eval")]
    rows = [part.reshape(-1, part.shape[-1]).astype(np.float32) for part in parts]
    whole = _standardised(np.concatenate(rows), rows[0])
    return whole[: len(rows[0])], whole[len(rows[0]) :]


def _standardised(x: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Centre and scale by one number: not every contestant does so itself."""
    reference = x[:TRAIN] if reference is None else reference
    mean = reference.mean(0, dtype=float).astype(np.float32)
    return (x - mean) / np.float32(np.square(reference - mean).mean() ** 0.5)


def batches(n: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield row numbers in the same order for every contestant."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]


def contest(pipe, name: str, plan: dict, paths: tuple[str, str]) -> None:
    """Serve one contestant: so many steps, `score` or `directions`; None ends it."""
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(plan["threads"])
    from peers import CONTESTANTS, Plan

    train, held_out = (np.load(path, mmap_mode="r") for path in paths)
    order = batches(len(train), plan["batch"], plan["seed"])
    sample = np.array(train)
    plan["rate"] = plan.pop("rates").get(name, 1.0)
    # What imports and compilation take is no matter of size: pay it before the measurement.
    small = Plan(**{**plan, "width": 64, "k": 4}, sample=sample[:256])
    CONTESTANTS[name](small).step(torch.from_numpy(sample[:256]).to(small.device))
    gpu = small.device == "cuda"
    before = 0.0 if gpu else _memory("VmRSS")
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # The peak starts anew.
    contestant = CONTESTANTS[name](Plan(**plan, sample=sample))
    pipe.send("ready")
    while (command := pipe.recv()) is not None:
        if command == "score":
            pipe.send(_score(contestant, held_out, small.device))
            continue
        if command == "directions":
            pipe.send(contestant.directions().detach().cpu().numpy())
            continue
        seconds = []
        for _ in range(command):
            x = torch.from_numpy(train[np.sort(next(order))]).to(small.device)
            started = time.perf_counter()
            contestant.step(x)
            if gpu:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        peak = torch.cuda.max_memory_allocated() / 2**20 if gpu else _memory("VmHWM")
        pipe.send((median(seconds), peak - before))


def _score(contestant, x: np.ndarray, device: str) -> dict:
    import torch

    error, fires = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(x), 2048):
            rows = torch.from_numpy(np.array(x[start : start + 2048])).to(device)
            guess, z = contestant.reconstruct(rows)
            error += float((guess - rows).double().square().sum())
            fires = fires + (z > 0).sum(0)
    total = float(np.square(x - x.mean(0, dtype=float), dtype=float).sum())
    return {"fve": 1 - error / total, "dead": float((fires == 0).double().mean())}


def recovery(directions: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return how well the true dictionary is found, by cosine.

    The mean over true rows of the best learnt row's cosine, and the mean over pairs when each
    learnt row may be used once (Hungarian matching).
    """
    from scipy.optimize import linear_sum_assignment

    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    cosine = truth @ unit.T
    pairs = linear_sum_assignment(cosine, maximize=True)
    return float(cosine.max(1).mean()), float(cosine[pairs].mean())


def _memory(kind: str) -> float:
    """Return the resident set now (VmRSS) or at its peak (VmHWM), in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


class Arena:
    """The contestants' processes."""

    def __init__(self, names: list[str], plan: dict, paths: tuple[str, str]):
        context = multiprocessing.get_context("spawn")
        self.pipes = {}
        for name in names:
            here, there = context.Pipe()
            context.Process(target=contest, args=(there, name, plan, paths), daemon=True).start()
            there.close()
            try:
                here.recv()
                self.pipes[name] = here
            except EOFError:
                print(f"{name} does not run here", flush=True)

    def ask(self, command) -> dict:
        """Give every contestant the command in turn and return their answers."""
        answers = {}
        for name, pipe in self.pipes.items():
            pipe.send(command)
            answers[name] = pipe.recv()
        return answers

    def close(self) -> None:
        """End the processes."""
        for pipe in self.pipes.values():
            pipe.send(None)


def gemm_seconds(d: int, width: int, batch: int, threads: int) -> float:
    """Return the time of the encoder's product in float32.

    No exact step can do without it, unless the processor is faster in another format.
    """
    import torch

    torch.set_num_threads(threads)
    x, weights, z = torch.randn(batch, d), torch.randn(width, d), torch.empty(batch, width)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        torch.mm(x, weights.T, out=z)
        times.append(time.perf_counter() - started)
    return median(times)


def speed(options: argparse.Namespace, folder: Path) -> None:
    """Print the time of a step, its ratios to others, the share of the limit, and memory.

    The others are the plain step and, of the libraries, the fastest of each round.
    """
    for d in options.d:
        paths = _save(folder, *synthetic(d)[:2])
        for width in options.width:
            plan = _plan(options, d, width, SPEED_STEPS, 0, {})
            arena = Arena(options.only, plan, paths)
            arena.ask(2)
            rounds, limits = [], []
            for _ in range(options.rounds):
                limits.append(gemm_seconds(d, width, options.batch, options.threads))
                rounds.append(arena.ask(options.per_round))
            arena.close()
            print(f"\nd {d}, width {width}, k {options.k}, batch {options.batch}")
            columns = f"{'ms/step':>8} {'x plain':>18} {'x fastest peer':>18}"
            print(f"{'':20} {columns} {'% of limit':>10} {'MB':>6}")
            peers = [name for name in arena.pipes if name in PEERS]
            fastest = [min((answers[name][0] for name in peers), default=nan) for answers in rounds]
            for name in arena.pipes:
                times = [answers[name][0] for answers in rounds]
                to_plain = _ratios([answers["plain"][0] for answers in rounds], times)
                share = median(limit / t for limit, t in zip(limits, times, strict=True))
                print(
                    f"{name:20} {1e3 * median(times):8.0f} {to_plain} {_ratios(fastest, times)} "
                    f"{100 * share:10.0f} {rounds[-1][name][1]:6.0f}",
                    flush=True,
                )


def _ratios(theirs: list[float], times: list[float]) -> str:
    ratios = [one / two for one, two in zip(theirs, times, strict=True)]
    return f"{f'{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})':>18}"


def quality(options: argparse.Namespace, folder: Path) -> None:
    """Print held-out FVE, the share of latents that never fire, and what is found of the truth."""
    rates = {name: float(rate) for name, rate in (pair.split("=") for pair in options.rate)}
    for width in options.width:
        for world in options.worlds:
            print(f"\nwidth {width}, k {options.k}, {options.samples} samples, world {world}")
            for name, score in _scores(options, folder, width, world, rates).items():
                line = "  ".join(f"{key} {value:.4f}" for key, value in score.items())
                print(f"{name:20} {line}", flush=True)


def tune(options: argparse.Namespace, folder: Path) -> None:
    """Print held-out FVE at multiples of each contestant's learning rate, and the best of them."""
    for width in options.width:
        found = {}
        for rate in options.rates:
            rates = dict.fromkeys(options.only, rate)
            for name, score in _scores(options, folder, width, 0, rates).items():
                found.setdefault(name, {})[rate] = score["fve"]
                print(f"width {width}  {name:20} x {rate:g}: FVE {score['fve']:.4f}", flush=True)
        best = (f"{name}={max(fves, key=fves.get):g}" for name, fves in found.items())
        print(f"width {width}: --rate", *best, flush=True)


def _scores(
    options: argparse.Namespace, folder: Path, width: int, world: int, rates: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Train every contestant on a world, with its number as the seed, and score it."""
    if options.activations:
        (train, held_out), truth = stored(options.activations), None
    else:
        train, held_out, truth = synthetic(options.d[0], world)
    steps = options.samples // options.batch
    plan = _plan(options, train.shape[1], width, steps, world, rates)
    arena = Arena(options.only, plan, _save(folder, train, held_out))
    arena.ask(steps)
    scores = arena.ask("score")
    if truth is not None and options.what == "quality":
        for name, directions in arena.ask("directions").items():
            scores[name]["cosine"], scores[name]["matched"] = recovery(directions, truth)
    arena.close()
    return scores


def _plan(
    options: argparse.Namespace, d: int, width: int, steps: int, seed: int, rates: dict[str, float]
) -> dict:
    return {
        "d": d,
        "width": width,
        "k": options.k,
        "batch": options.batch,
        "steps": steps,
        "seed": seed,
        "threads": options.threads,
        "rates": rates,
    }


def _save(folder: Path, train: np.ndarray, held_out: np.ndarray) -> tuple[str, str]:
    paths = str(folder / "train.npy"), str(folder / "held_out.npy")
    for path, values in zip(paths, (train, held_out), strict=True):
        np.save(path, values)
    return paths


def main() -> None:
    """Read the options and run one of the comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "tune", "quality"])
    parser.add_argument("--d", type=int, nargs="+", default=[384])
    parser.add_argument("--width", type=int, nargs="+", default=[4096])
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--per-round", type=int, default=3)
    parser.add_argument("--samples", type=int, default=90_112)
    parser.add_argument("--worlds", type=int, nargs="+", default=[0], help="seeds")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 1, 2, 4])
    parser.add_argument("--rate", nargs="+", default=[], help="NAME=FACTOR of the learning rate")
    parser.add_argument("--activations", help="manifest of a store, {} for the split")
    names = ["plain", "cladescope", *PEERS]
    parser.add_argument("--only", nargs="+", default=names, choices=[*OURS, *PEERS])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        {"speed": speed, "tune": tune, "quality": quality}[options.what](options, Path(folder))


if __name__ == "__main__":
    main()
