"""Every command of the documents: what it names is there, and it is run, here or where it says."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import dropwhile, groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import load_npz, random_array, save_npz
from snakemake.cli import get_argument_parser

from checkouts import Checkout
from cladescope.__main__ import _parser

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(
    r"`((?:[A-Z]+=\S+ )?(?:make|cladescope|snakemake|python|\.venv/bin/\w+) [^`]+)`"
)
LANGUAGES = {"python", "yaml", "text"}
"""Of blocks that hold no commands."""
OWN = {"my.yaml", "config/own/my.yaml", "CONFIG", "..."}
"""What stands for a reader's configuration."""
KEPT = "results/small/trained/dictionaries/cls/L8/topk/w48_k4_s0"
STANDS_FOR = {
    "my.yaml": "small.yaml",
    "FORMAT": "overcomplete",
    ".../sae.safetensors": f"{KEPT}/sae.safetensors",
    "results/my/trained/dictionaries/cls/L8/topk/w256_k8_s0": KEPT,
}
"""What the small study has in place of a reader's."""
CI = ".github/workflows/tests.yml"
SWEEP = "tests/slurm/test_sweep.py"
HUB = "downloads from the hub"
INSTALLS = "installs a package"
ELSEWHERE = {
    "make demo": CI,
    "make test": CI,
    "make test-fast": CI,
    "make lint": CI,
    "make .venv/synced": "the environment of these tests",
    "make .venv/synced-dev": "the environment of these tests",
    "make plan CONFIG=my.yaml": "tests/operations/test_commands.py",
    "make plan CONFIG=config/own/my.yaml": "tests/operations/test_commands.py",
    "make run CONFIG=config/own/my.yaml": "tests/conftest.py",
    "make reproduce CONFIG=my.yaml AGAIN=results/again": "tests/workflow/test_study.py",
    "cp config/config.yaml config/own/my.yaml": "copies a file",
    "cd ~/study": "changes the folder",
    "~/cladescope/.venv/bin/snakemake --snakefile ~/cladescope/Snakefile --configfile my.yaml "
    "--cores all": "tests/workflow/test_elsewhere.py",
    "pip install snakedeploy": INSTALLS,
    "snakedeploy deploy-workflow https://github.com/OWNER/cladescope . --tag v0.1.0": (
        "tests/workflow/test_deployed.py"
    ),
    "snakemake --cores all": "tests/workflow/test_deployed.py",
    "pip install /home/me/cladescope": "tests/test_package.py",
    "pip install --require-hashes --requirement /home/me/cladescope/envs/requirements.txt": (
        ".github/workflows/release.yml"
    ),
    "pip install --no-deps /home/me/cladescope": "tests/test_package.py",
    "docker build --tag cladescope .": "needs Docker",
    "docker run --rm --user $(id -u) --volume $PWD:$PWD --workdir $PWD cladescope snakemake "
    "--cores all --configfile my.yaml": "needs Docker",
    "docker save cladescope --output cladescope.tar": "needs Docker",
    "apptainer build cladescope.sif envs/apptainer.def": "needs Apptainer",
    "CLADESCOPE_IMAGE=$PWD/cladescope.sif .venv/bin/snakemake --cores all --configfile my.yaml "
    "--sdm apptainer": "needs Apptainer",
    '.venv/bin/python -c import datasets; datasets.load_dataset("clane9/imagenet-100")': HUB,
    '.venv/bin/python -c import timm; timm.create_model("vit_small_patch14_dinov2.lvd142m", '
    "pretrained=True)": HUB,
    ".venv/bin/python benchmarks/relevancy.py --study results/demo --layer 8 --out "
    "two_objects.csv": "takes the finished demo, and minutes",
    ".venv/bin/snakemake --profile slurm --configfile my.yaml": SWEEP,
    ".venv/bin/snakemake --profile slurm --configfile my.yaml -n": SWEEP,
    ".venv/bin/snakemake --profile profiles/cluster-generic --configfile my.yaml": SWEEP,
    ".venv/bin/uv pip install --python .venv/bin/python "
    "snakemake-executor-plugin-cluster-generic": INSTALLS,
}
"""Commands of blocks that are not run here: the file that runs them, or why nothing does."""


def blocks_of(text: str) -> Iterator[list[str]]:
    """Yield the words of every command in a document's blocks."""
    for language, block in FENCE.findall(text):
        assert language in {"", *LANGUAGES}, f"say what a block in {language} is"
        if not language:
            yield from split(block)


def split(block: str) -> Iterator[list[str]]:
    """Yield the words of each command; what is open at the end of a line goes on in the next."""
    left = ""
    for line in block.splitlines():
        left = f"{left} {line.strip()}".strip()
        try:
            words = shlex.split(left, comments=True)
        except ValueError:
            continue
        left = ""
        yield from ([*part] for joins, part in groupby(words, "&&".__eq__) if not joins)
    assert not left, left


COMMANDS = {" ".join(words): words for path in DOCUMENTS for words in blocks_of(path.read_text())}
MENTIONED = {
    " ".join(words): words
    for path in DOCUMENTS
    for text in INLINE.findall(path.read_text())
    for words in split(re.sub(r"[][]|\s*\.\.\.$", "", " ".join(text.split())))
}
"""In the middle of a sentence or a table, with what may be left out."""
RUN = {
    text: words
    for text, words in COMMANDS.items()
    if text not in ELSEWHERE and Path(words[0]).name in ("snakemake", "cladescope")
}


def faults_of(words: list[str]) -> list[str]:
    """Say what a command names that is not there."""
    program, *rest = dropwhile(re.compile(r"[A-Z_]+=").match, words)
    checks = {"make": of_make, "cladescope": of_cladescope, "snakemake": of_snakemake}
    name = Path(program).name
    if name == "python" and rest[:2] == ["-m", "cladescope"]:
        name, rest = "cladescope", rest[2:]
    if name == "python" and rest[0] != "-c":
        return missing(rest[:1])
    return checks[name](rest) if name in checks else []


def of_make(rest: list[str]) -> list[str]:
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    found = []
    for word in rest:
        name, is_variable, value = word.partition("=")
        known = f"$({name})" in makefile if is_variable else re.search(rf"^{name}:", makefile, re.M)
        found += [] if known else [f"make has no {word}"]
        found += missing([value]) if name == "CONFIG" and value else []
    return found


def of_cladescope(rest: list[str]) -> list[str]:
    (commands,) = (action.choices for action in _parser()._actions if action.choices)
    name, *arguments = rest
    if name not in commands:
        return [f"cladescope has no command {name}"]
    options = commands[name]._option_string_actions
    return [f"{name} has no {word}" for word in arguments if word[0] == "-" and word not in options]


def of_snakemake(rest: list[str]) -> list[str]:
    options, unknown = get_argument_parser().parse_known_args(rest)
    found = [f"snakemake has no {word}" for word in unknown]
    found += missing(
        [*(options.configfile or ()), *(f"{p}/config.yaml" for p in options.profile or ())]
    )
    rules = "".join(path.read_text() for path in (ROOT / "workflow").glob("**/S*file*"))
    rules += "".join(path.read_text() for path in (ROOT / "workflow" / "rules").iterdir())
    for target in {*(options.targets or ()), *(options.until or ())}:
        is_file = str(target).startswith("results/")
        found += (
            [] if is_file or re.search(rf"^ *rule {target}:", rules, re.M) else [f"no {target}"]
        )
    return found


def missing(paths: list) -> list[str]:
    paths = [str(path) for path in paths]
    return [f"no {path}" for path in paths if path not in OWN and not (ROOT / path).exists()]


@pytest.mark.parametrize("command", [*COMMANDS, *MENTIONED])
def test_what_a_command_names_is_there(command):
    assert faults_of({**MENTIONED, **COMMANDS}[command]) == []


def test_recipes_call_what_is_there():
    """Every command of ours that a target of the Makefile runs."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    given = ("MODEL=vit", "REPAIR=1", "WATCH=1", "SIZE=224", "MODULES=1", "CARD=H200")
    words = ["make", "--dry-run", *given, *targets]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = told.stdout.replace("\\\n", " ").splitlines()
    ours = [line for line in lines if re.search(r"\.venv/bin/(cladescope|snakemake) ", line)]
    assert len(ours) > len(targets) / 2
    assert [fault for line in ours for fault in faults_of(shlex.split(line))] == []


def test_every_command_is_run_somewhere():
    assert COMMANDS.keys() == RUN.keys() | ELSEWHERE.keys()
    files = [where for where in ELSEWHERE.values() if "/" in where]
    assert missing(files) == []


@pytest.fixture(scope="module")
def desk(finished, tmp_path_factory) -> Checkout:
    """A folder with the finished study in it, and with what the documents' commands read."""
    folder = tmp_path_factory.mktemp("desk")
    for path in (*finished.folder.iterdir(), ROOT / "config"):
        (folder / path.name).symlink_to(path)
    wnids = ("n02085620", "n02088364", "n02110958", "n02123045", "n02123394", "n02124075")
    save_npz(folder / "codes.npz", random_array((240, 8), density=0.3, rng=0))
    np.save(folder / "codes.npy", load_npz(folder / "codes.npz").toarray())
    (folder / "labels.txt").write_text("".join(f"{wnid}\n" * 40 for wnid in wnids))
    (folder / "import").mkdir()
    rows = torch.eye(4).tile(16, 1)
    state = {"encoder.final_block.0.weight": rows, "encoder.final_block.0.bias": torch.zeros(64)}
    state |= {"dictionary._weights": rows, "dictionary.multiplier": torch.zeros(1)}
    torch.save(state, folder / "import" / "sae.pt")
    return Checkout(folder)


@pytest.mark.parametrize("command", RUN)
def test_it_runs(command, desk):
    """Snakemake's commands plan, on the small study; its jobs run in other tests."""
    program, *words = RUN[command]
    words = [STANDS_FOR.get(word, words[0] if word == "FOLDER" else word) for word in words]
    if Path(program).name == "snakemake":
        done = desk.run("--dry-run", *words)
    else:
        done = desk.command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
