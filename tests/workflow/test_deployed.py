"""Deployed as the workflow catalogue says: a module from a git host, in an empty folder."""

import os
import shutil
import subprocess

import pytest
import yaml

from checkouts import PARTS, SNAKEMAKE
from cladescope.files import read_json

MANIFEST = "results/small/trained/activations/eval/cls/L8.json"
# What `snakedeploy deploy-workflow` writes, in short.
DEPLOYED = """\
configfile: "config/config.yaml"


module cladescope:
    snakefile:
        github("owner/cladescope", path="workflow/Snakefile", {ref})
    config:
        config


use rule * from cladescope
"""


@pytest.fixture
def hosted(root, tmp_path):
    """Git in a repository that Snakemake takes for one of GitHub, tagged v1."""
    folder = tmp_path / "hub" / "owner" / "cladescope"
    for part in PARTS:
        copy = shutil.copytree if (root / part).is_dir() else shutil.copy
        folder.mkdir(parents=True, exist_ok=True)
        copy(root / part, folder / part)
    (folder / ".gitignore").write_text("*.pyc\n")

    def git(*arguments):
        who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
        command = ["git", "-C", folder, *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message=One")
    git("tag", "v1")
    return git


@pytest.fixture
def deploy(config, tmp_path):
    """Snakemake in the folder, with one of the workflow's versions."""
    folder = tmp_path / "here"
    (folder / "workflow").mkdir(parents=True)
    (folder / "config").mkdir()
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    unwanted = ("PYTHONPATH", "GITHUB_TOKEN")
    environment = {key: value for key, value in os.environ.items() if key not in unwanted} | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/hub/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }

    def run(ref, *arguments):
        (folder / "workflow" / "Snakefile").write_text(DEPLOYED.format(ref=ref))
        profile = tmp_path / "hub" / "owner" / "cladescope" / "profiles" / "default"
        command = [SNAKEMAKE, "--workflow-profile", profile, "--cores", "1", *arguments]
        options = {"env": environment, "capture_output": True, "text": True}
        done = subprocess.run(command, cwd=folder, check=False, **options)
        return done.returncode, done.stdout + done.stderr

    return run


def test_runs_in_an_empty_folder_and_follows_its_tag(hosted, deploy, finished, tmp_path):
    clone = tmp_path / "here" / ".snakemake" / "cladescope"
    code, printed = deploy('tag="v1"', "--", MANIFEST)
    assert code == 0, printed
    found, expected = (
        read_json(folder / MANIFEST)["shards"] for folder in (tmp_path / "here", finished.folder)
    )
    assert found == expected
    head = ["git", "-C", clone, "rev-parse", "HEAD"]
    assert subprocess.check_output(head, text=True).strip() == hosted("rev-parse", "v1")
    assert not subprocess.check_output(["git", "-C", clone, "status", "--porcelain"])

    # A version with another word in it runs nothing again, one with other code does.
    library = tmp_path / "hub" / "owner" / "cladescope" / "workflow" / "lib" / "cladescope"
    (library / "new.py").write_text('"""Used by nobody."""\n')
    hosted("add", "--all")
    hosted("commit", "--quiet", "--message=Two")
    hosted("tag", "v2")
    code, printed = deploy('tag="v2"', "-n", "--", MANIFEST)
    assert code == 0, printed
    assert "Nothing to be done" in printed
    assert (clone / "workflow" / "lib" / "cladescope" / "new.py").is_file()
    extract = library / "activations" / "forward.py"
    extract.write_text(extract.read_text().replace("def _launch(", "def _launch(\n    *_: int,", 1))
    hosted("commit", "--quiet", "--all", "--message=Three")
    branch = hosted("branch", "--show-current")
    code, printed = deploy(f'branch="{branch}"', "-n", "--quiet", "rules", "--", MANIFEST)
    assert code == 0, printed
    assert "extract_activations_trained_eval_0" in printed
