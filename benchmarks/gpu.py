"""The GPU's part of docs/performance.md, on any machine with one.

    make bench-gpu
    .venv/bin/python benchmarks/gpu.py costs --width 16384 --batch 4096

`steps` times a training step beside a plain one and those of the libraries that are installed, and
holds it to what its largest parts take alone; `quality` trains to the end; `layer` makes the
dictionaries of one layer as a job does; `extraction` is benchmarks/extraction.py. `costs` counts a
step's operations and bytes and needs no GPU.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np

OURS = "cladescope_device"


def print_costs(options: argparse.Namespace) -> None:
    """Print what `cladescope.dictionaries.training.cost` counts, with the time of each part."""
    from cladescope.dictionaries.training.cost import ATTAINED, CARDS, sparse_step

    card = CARDS[options.card]
    for width in options.width:
        for batch in options.batch:
            print(f"\nd {options.d}, width {width}, k {options.k}, batch {batch}")
            print(f"at {ATTAINED:.0%} of the peak rates of a {options.card}")
            parts = sparse_step(options.d, width, options.k, batch)
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
        seconds = []
        for _ in range(12):
            _synchronise(device)
            started = time.perf_counter()
            work()
            _synchronise(device)
            seconds.append(time.perf_counter() - started)
        return median(seconds[2:])

    product = timed(lambda: torch.nn.functional.linear(x, weights, bias))
    return product + timed(lambda: arrays.add_(1))


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
    from peers import Plan, default_recipe

    from cladescope.dictionaries.train import Target, train_dictionaries
    from cladescope.dictionaries.training.batches import InMemory
    from cladescope.dictionaries.training.spec import FitSpec

    x = sae.synthetic(options.d)[0].astype(np.float16)
    batch = options.batch[0]
    plan = Plan(options.d, 0, options.k, batch, options.samples // batch, 0, 1, 1.0, x)
    recipe = default_recipe(plan)
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


def _synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


PARTS = {"steps": steps, "quality": quality, "layer": layer, "extraction": extraction}


def main() -> None:
    """Read the options and print what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="of steps, quality, layer, extraction, costs")
    parser.add_argument("--d", type=int, default=1536)
    parser.add_argument("--width", type=int, nargs="+", default=[4096, 16384, 24576, 49152])
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, nargs="+", default=[4096, 16384])
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
