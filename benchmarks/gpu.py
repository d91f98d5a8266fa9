"""The GPU's part of docs/performance.md, on any machine with one.

    make bench-gpu
    .venv/bin/python benchmarks/gpu.py costs --width 16384 --batch 4096

`steps` times a training step beside a plain one and those of the libraries that are installed, and
holds it to what its largest parts take alone; `variants` times the sparse step with either
selection and the dense step beside the plain one; `together` trains small dictionaries side by side
and in turn; `quality` trains to the end; `layer` makes the dictionaries of one layer as a job does;
`extraction` is benchmarks/extraction.py. `costs` counts a step's operations and bytes and needs no
GPU.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np

OURS = "cladescope_device"


def print_costs(options: argparse.Namespace) -> None:
    """Print what `cladescope.dictionaries.training.cost` counts, with the time of each part."""
    from cladescope.dictionaries.training.cost import ATTAINED, CARDS, dense_step, sparse_step

    card = CARDS[options.card]
    print(f"at {ATTAINED:.0%} of the peak rates of a {options.card}")
    for width, batch in product(options.width, options.batch):
        for title, parts in (
            (f"k {options.k}", sparse_step(options.d, width, options.k, batch)),
            ("dense", dense_step(options.d, width, batch)),
        ):
            print(f"\nd {options.d}, width {width}, batch {batch}, {title}")
            for cost in parts:
                print(
                    f"{cost.part:22} {cost.operations / 1e9:8.1f} GFLOP {cost.bytes / 1e6:8.0f} MB "
                    f"{1e3 * cost.seconds(card):6.2f} ms"
                )
            print(f"{'together':22} {1e3 * sum(c.seconds(card) for c in parts):32.2f} ms")


def describe_machine() -> str:
    """Return card, driver and clocks, as the driver reports them."""
    query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    reported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    import torch

    return f"{reported}; torch {torch.__version__}, CUDA {torch.version.cuda}"


def limit(d: int, width: int, batch: int, device: str) -> float:
    """Return the seconds of the bfloat16 product and of reading and writing what Adam must."""
    import torch

    from cladescope.dictionaries.training.cost import ADAM_ARRAYS

    x, weights, bias = (
        torch.randn(shape, device=device, dtype=torch.bfloat16)
        for shape in ((batch, d), (width, d), (width,))
    )
    arrays = torch.zeros(ADAM_ARRAYS * 2 * width * d, device=device)

    def timed(work) -> float:
        return median([_seconds(work, device) for _ in range(12)][2:])

    linear = timed(lambda: torch.nn.functional.linear(x, weights, bias))
    return linear + timed(lambda: arrays.add_(1))


def steps(options: argparse.Namespace) -> None:
    """Print the time of a step, its ratios, the share of the limit, and memory."""
    import sae

    data = sae.synthetic(options.d)[:2]
    for width in options.width:
        for batch in options.batch:
            with tempfile.TemporaryDirectory() as folder:
                plan = _plan(options, width, batch, options.run, 0)
                arena = sae.Arena(options.only, plan, sae._save(Path(folder), *data))
                arena.ask(5)
                rounds = [arena.ask(options.per_round) for _ in range(options.rounds)]
                arena.close()
            least = limit(options.d, width, batch, options.device)
            print(f"\nd {options.d}, width {width}, k {options.k}, batch {batch}")
            print(f"{'':20} {'ms/step':>8} {'ours is x':>20} {'% of limit':>10} {'MB':>7}")
            for name in arena.pipes:
                times = [answers[name][0] for answers in rounds]
                ours = [answers[OURS][0] for answers in rounds]
                print(
                    f"{name:20} {1e3 * median(times):8.2f} {sae._ratios(times, ours):>20} "
                    f"{100 * least / median(times):10.0f} {rounds[-1][name][1]:7.0f}",
                    flush=True,
                )


def variants(options: argparse.Namespace) -> None:
    """Print the time of a step of each way, as runs take it, in turn, and ratios within a round."""
    import sae
    import torch

    from cladescope.dictionaries.training.batches import Batches, Block

    rows = sae.synthetic(options.d)[0].astype(np.float16)
    for width, batch in product(options.width, options.batch):
        block = Block(rows)
        ways = _ways(options, rows, width, batch)
        times = {name: [] for name in ways}
        per_round = min(options.per_round, len(rows) // batch)
        for number in range(1 + options.rounds):
            for name, learner in ways.items():
                batches = Batches(block, batch, 0, 0)
                work = partial(list, learner.take(batches, range(per_round), number * per_round))
                times[name].append(_seconds(work, options.device) / per_round)
        print(f"\nd {options.d}, width {width}, batch {batch}")
        for name, seconds in times.items():
            beside = times[name.partition(",")[0] + ", plain"]
            ratios = sae._ratios(beside[1:], seconds[1:])
            print(f"{name:20} {1e3 * median(seconds[1:]):8.2f} ms/step, plain is x {ratios}")
        if options.device == "cuda":
            for learner in (way for name, way in ways.items() if not name.endswith("plain")):
                torch.cuda.set_sync_debug_mode("error")
                learner._step(0)
                torch.cuda.set_sync_debug_mode("default")


def _ways(options: argparse.Namespace, rows: np.ndarray, width: int, batch: int) -> dict:
    """Return learners of TopK, ReLU and JumpReLU: of a GPU and plain."""
    import torch

    from cladescope.dictionaries.training.gpu_step import learner_on
    from cladescope.dictionaries.training.initial import Beginning
    from cladescope.dictionaries.training.plain_step import Autograd, TopK
    from cladescope.dictionaries.training.schedule import Pace
    from cladescope.dictionaries.training.spec import FitSpec
    from cladescope.dictionaries.training.stepwise import Stepwise
    from cladescope.dictionaries.variants.jumprelu import JumpRelu
    from cladescope.dictionaries.variants.relu import Relu

    start, device = Beginning.of(rows), torch.device(options.device)
    recipe, ways = _recipe(options, batch, options.run), {}
    exact = replace(recipe, gpu_selection="tf32")
    for kind, sparsity in ((TopK, options.k), (Relu, 0.1), (JumpRelu, options.k)):
        spec, name = FitSpec(width, sparsity, 0, recipe), kind.__name__
        ways[name] = learner_on(device, kind, start, spec, options.run)
        if kind.keeping:
            in_tf32 = replace(spec, recipe=exact)
            ways[f"{name}, tf32"] = learner_on(device, kind, start, in_tf32, options.run)
        plain = Autograd.begin(kind, start, spec, options.run)
        ways[f"{name}, plain"] = Stepwise(plain, Pace.of(spec, options.run))
    return ways


def together(options: argparse.Namespace) -> None:
    """Print the time of small dictionaries of one job, side by side and one after another."""
    import sae
    import torch

    from cladescope.dictionaries.training import gpu_stretch
    from cladescope.dictionaries.training.batches import InMemory
    from cladescope.dictionaries.training.gpu_step import learner_on
    from cladescope.dictionaries.training.initial import Beginning
    from cladescope.dictionaries.training.loop import Run, train
    from cladescope.dictionaries.training.plain_step import TopK
    from cladescope.dictionaries.training.spec import FitSpec

    rows, n_steps = sae.synthetic(options.small_d)[0].astype(np.float16), options.run
    source, beginning = InMemory(rows), Beginning.of(rows)
    small, recipe = gpu_stretch.SMALL_STEP, _recipe(options, 256, n_steps)
    for count in options.together:
        times = {}
        for way, limit in (("side by side", small), ("in turn", 0)) * options.rounds:
            gpu_stretch.SMALL_STEP = limit
            runs = []
            for seed in range(count):
                spec = FitSpec(256, 8, seed, recipe)
                device = torch.device(options.device)
                learner = learner_on(device, TopK, beginning, spec, n_steps)
                runs.append(Run(learner, source, spec))
            work = partial(train, runs, source.blocks, lambda run: None)
            times.setdefault(way, []).append(_seconds(work, options.device))
        gpu_stretch.SMALL_STEP = small
        ratios = sae._ratios(times["in turn"], times["side by side"])
        seconds = median(times["side by side"])
        print(f"\n{count} dictionaries of {n_steps} steps: {seconds:.1f} s, in turn is x {ratios}")


def quality(options: argparse.Namespace) -> None:
    """Print held-out FVE and the share of latents that never fire, after equally many samples."""
    import sae

    for seed in options.seeds:
        data = sae.synthetic(options.d, seed)[:2]
        for width in options.width:
            batch = options.batch[0]
            n_steps = options.samples // batch
            with tempfile.TemporaryDirectory() as folder:
                plan = _plan(options, width, batch, n_steps, seed)
                arena = sae.Arena(options.only, plan, sae._save(Path(folder), *data))
                arena.ask(n_steps)
                print(f"\nwidth {width}, {options.samples} samples, world and seed {seed}")
                for name, score in arena.ask("score").items():
                    line = "  ".join(f"{key} {value:.4f}" for key, value in score.items())
                    print(f"{name:20} {line}", flush=True)
                arena.close()


def layer(options: argparse.Namespace) -> None:
    """Print the time of the dictionaries of one layer, from one load, as a job makes them."""
    import sae

    from cladescope.dictionaries.train import Target, train_dictionaries
    from cladescope.dictionaries.training.batches import InMemory
    from cladescope.dictionaries.training.spec import FitSpec

    x = sae.synthetic(options.d)[0].astype(np.float16)
    batch = options.batch[0]
    recipe = _recipe(options, batch, options.samples // batch)
    with tempfile.TemporaryDirectory() as folder:
        targets = [
            Target(FitSpec(width, k, seed, recipe), Path(folder) / f"{width}_{k}_{seed}" / "s", "")
            for width in options.width[:4]
            for k in (16, 32, 64, 128)
            for seed in range(3)
        ]
        for target in targets:
            target.weights.parent.mkdir()
        started = time.perf_counter()
        train_dictionaries("topk", InMemory(x), targets)
        seconds = time.perf_counter() - started
    print(f"\n{len(targets)} dictionaries of {options.samples} samples each: {seconds:.0f} s")


def extraction(options: argparse.Namespace) -> None:
    """Print the rate of extraction beside a bare loop."""
    import extraction as bench

    for model in bench.MODELS:
        bench.main(model)


def _recipe(options: argparse.Namespace, batch: int, n_steps: int):
    from peers import Plan, default_recipe

    nothing = np.empty((0, options.d))
    return default_recipe(Plan(options.d, 0, options.k, batch, n_steps, 0, 1, 1.0, nothing))


def _plan(options: argparse.Namespace, width: int, batch: int, n_steps: int, seed: int) -> dict:
    return {
        "d": options.d,
        "width": width,
        "k": options.k,
        "batch": batch,
        "steps": n_steps,
        "seed": seed,
        "threads": 1,
        "rates": {},
        "device": options.device,
    }


def _seconds(work: Callable[[], object], device: str) -> float:
    """Return how long the device takes for some work alone."""
    _synchronise(device)
    started = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - started


def _synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


PARTS = {"steps": steps, "variants": variants, "together": together, "quality": quality}
PARTS |= {"layer": layer, "extraction": extraction}


def main() -> None:
    """Read the options and print what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"of {', '.join(PARTS)}, costs")
    parser.add_argument("--d", type=int, default=1536)
    parser.add_argument("--width", type=int, nargs="+", default=[4096, 16384, 24576, 49152])
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--small-d", type=int, default=192, help="for `together`")
    parser.add_argument("--together", type=int, nargs="+", default=[8, 48])
    parser.add_argument("--run", type=int, default=2441, help="length of the timed run in steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--per-round", type=int, default=20)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--device", default="cuda", help="cpu only to try this script")
    parser.add_argument("--card", default="H100", help="for `costs`")
    names = [OURS, "plain", "sparsify", "dictionary_learning", "sae_lens", "overcomplete"]
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    options = parser.parse_args()
    if options.what == ["costs"]:
        print_costs(options)
        return
    if options.device == "cuda":
        print(describe_machine())
    for part in options.what or PARTS:
        PARTS[part](options)


if __name__ == "__main__":
    main()
