"""A copy of the checkout in which tests run Snakemake for real."""

import ast
import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import yaml

import fork_client
from cladescope.sweep import PACKED

SERVERS: list[tuple[tempfile.TemporaryDirectory, subprocess.Popen]] = []
"""Fork servers and the folders of their sockets."""
IMPORTED = (
    # The plugin brings pandas along.
    *("snakemake.cli", "snakemake_executor_plugin_slurm", "smart_open", "jsonschema", "yaml"),
    *("torch", "timm", "zarr", "numba", "scipy.stats", "nltk", "safetensors.torch", "tqdm"),
    *("pyarrow.parquet", "seaborn", "PIL.Image"),
)
"""What Snakemake, the command and the scripts of jobs import."""
SHARED = re.compile(rf"({'|'.join(PACKED)})_\w+")
"""Rules of jobs for several dictionaries."""
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
PARTS = ("Snakefile", "workflow", "profiles", "envs", "resources")
SMALL = {
    "results": "results/small",
    "datasets": {
        "planted": {
            "source": "planted",
            "seed": 0,
            "images_per_class": {"train": 16, "eval": 16},
        }
    },
    "experiments": {
        "trained": {
            "dataset": "planted",
            "backbone": {
                "model": "vit_planted",
                "weights": "resources/planted_vit/s0.safetensors",
                "blocks": 8,
            },
            "extraction": {
                "passes": [{"layers": [2, 8]}],
                "shards": {"train": 2, "eval": 1},
                "threads": 2,
            },
            "sweep": {
                "layers": [2, 8],
                "variants": {
                    "topk": {"width": [48], "sparsity": [2, 4], "seed": [0]},
                    "neurons": {},
                },
            },
        }
    },
    "training": {"images": 8192, "batch_size": 256},
    "scores": {"top_n": 8, "null_draws": 5, "p_draws": 20, "shuffle_draws": 2},
    "figures": {"formats": ["png"]},
}

# What follows when dictionaries come or go, and when those shown as images change, too.
COSTS = {"tabulate_costs": 1}
FIGURES = {
    "plot_scores": 1,
    "plot_by_size": 1,
    "plot_surface": 1,
    "plot_recovered_nodes": 1,
    "plot_sensitivity": 1,
    "plot_frontier": 1,
    "plot_quality": 1,
}
ALL_FIGURES = FIGURES | COSTS | {"plot_training_curves": 1, "plot_top_images": 1}
TABLES = {
    **dict.fromkeys(("record_provenance", "tabulate", "tabulate_probes", "tabulate_skipped"), 1),
    **{"tabulate_trends": 1, "write_evidence": 1, "contrast_drawn": 1},
    **FIGURES,
    **COSTS,
}
SUMMARY = TABLES | {"plot_top_images": 1}
CURVES = {"plot_training_curves": 1}


def dictionaries(count: int) -> dict[str, int]:
    """Return the jobs that make dictionaries and what is computed for each."""
    return dict.fromkeys(("train_sae", "encode", "score_dictionary"), count)


def edit(config: dict, changes: dict) -> dict:
    """Return a copy of a configuration with the values of some dotted keys replaced."""
    config = copy.deepcopy(config)
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = config
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return config


@cache
def fork_server() -> str:
    """Start a process that has imported much and runs programs in forks; return its socket."""
    folder = tempfile.TemporaryDirectory(prefix="fork-server-")
    address = Path(folder.name) / "socket"
    path = Path(__file__).with_name("fork_server.py")
    # -P: no module of the tests is in reach of what it runs.
    command = [sys.executable, "-P", path, address, *IMPORTED]
    # What is kept of a start is kept where bytecode is.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    # Both live as long as the tests.
    SERVERS.append((folder, server))
    while not address.exists():
        assert server.poll() is None, "the fork server ended"
        time.sleep(0.05)
    return str(address)


@cache
def forked_python() -> Path:
    """Return an executable that runs the scripts of jobs in forks, as `python` would."""
    address = fork_server()
    executable = Path(address).with_name("python")
    client = Path(__file__).with_name("fork_client.py")
    executable.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {client} {address} "$@"\n')
    executable.chmod(0o755)
    return executable


def run_in_fork(
    module: str, arguments: tuple[str, ...], **order: object
) -> subprocess.CompletedProcess:
    """Run `python -m MODULE` in a fork; `cwd`, `environment`, `path`, `executable` are wanted."""
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)]
        nothing = stack.enter_context(Path(os.devnull).open())
        files = [stream.fileno() for stream in (nothing, *streams)]
        order |= {"arguments": ["-m", module, *arguments]}
        code = fork_client.run(fork_server(), files, **order)
        printed = [stream.seek(0) or stream.read() for stream in streams]
    return subprocess.CompletedProcess([module, *arguments], code, *printed)


class Checkout:
    """A copy of the checkout with a configuration of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = folder / "small.yaml"
        self.write(SMALL)

    def write(self, config: dict) -> None:
        self.config.write_text(yaml.safe_dump(config))

    def run(self, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        """Run Snakemake, as an argument of the command `prefix` if there is one."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        arguments = ("--cores", "2", "--configfile", str(self.config), *arguments)
        if not prefix:
            place = {"cwd": self.folder, "environment": environment, "path": []}
            return run_in_fork("snakemake", arguments, executable=forked_python(), **place)
        return subprocess.run(
            [*prefix, SNAKEMAKE, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def command(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        """Run `python -m cladescope`."""
        return run_in_fork(
            "cladescope",
            arguments,
            cwd=self.folder,
            environment=environment or {**os.environ},
            path=[self.folder / "workflow" / "lib"],
            executable=None,
        )

    def planned(self, *arguments: str) -> Counter:
        """Return how many jobs of each rule a dry run plans."""
        result = self.run("-n", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        rules = re.findall(r"^(?:local)?rule (\w+):", result.stdout + result.stderr, re.MULTILINE)
        return Counter(SHARED.sub(r"\1", rule) for rule in rules if rule != "all")

    def edit(self, module: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text in a library module."""
        path = self.folder / "workflow" / "lib" / "cladescope" / module
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def change(self, module: str, function: str) -> None:
        """Put a statement that does nothing before the last one of a library function."""
        path = self.folder / "workflow" / "lib" / "cladescope" / module
        lines = path.read_text().splitlines(keepends=True)
        (last,) = (
            node.body[-1]
            for node in ast.walk(ast.parse("".join(lines)))
            if isinstance(node, ast.FunctionDef) and node.name == function
        )
        lines.insert(last.lineno - 1, " " * last.col_offset + "_ = 0\n")
        path.write_text("".join(lines))


@contextmanager
def results_kept(folder: Path) -> Iterator[None]:
    """Put the results and Snakemake's records back, if a test has made anything else of them."""
    results, records, kept = folder / "results", folder / ".snakemake" / "metadata", folder / "kept"
    shutil.copytree(results, kept / "results", symlinks=True, copy_function=copy_but_images)
    shutil.copytree(records, kept / "records")
    before = state_of(results)
    try:
        yield
    finally:
        if state_of(results) != before:
            shutil.rmtree(results)
            (kept / "results").rename(results)
            shutil.rmtree(records)
            (kept / "records").rename(records)
        shutil.rmtree(kept)


def copy_but_images(source: str, target: str) -> None:
    """Copy a file; thousands of images get a second name only."""
    (os.link if source.endswith(".png") else shutil.copy2)(source, target)


def state_of(folder: Path) -> dict[Path, tuple[int, int]]:
    states = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (state.st_ino, state.st_mtime_ns) for path, state in states.items()}
