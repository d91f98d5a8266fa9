"""Used from other folders and workflows, and twice at once: docs/elsewhere.md."""

import os
import subprocess
import time

import pytest
import yaml

from checkouts import SNAKEMAKE
from cladescope.files import read_json

MANIFEST = "trained/activations/eval/cls/L8.json"
PARENT = """\
module cladescope:
    snakefile:
        "{root}/Snakefile"
    config:
        config["cladescope"]
    {options}


use rule * from cladescope as cladescope_*


rule headline:
    input:
        rules.cladescope_tabulate.output.metrics,
    output:
        "headline.csv",
    shell:
        "head -n 3 {{input}} > {{output}}"
"""


@pytest.fixture
def away(root, config, tmp_path):
    """Snakemake in a folder of its own, with a configuration whose paths are absolute."""
    backbone = config["experiments"]["trained"]["backbone"]
    backbone["weights"] = str(root / backbone["weights"])
    config["results"] = "results"
    (tmp_path / "here").mkdir()

    def run(snakefile, config, *arguments):
        (tmp_path / "here" / "config.yaml").write_text(yaml.safe_dump(config))
        command = [SNAKEMAKE, "--snakefile", snakefile, "--configfile", "config.yaml"]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [*command, "--cores", "1", *arguments],
            cwd=tmp_path / "here",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def shards(results):
    """The checksums of the activations."""
    return read_json(results / MANIFEST)["shards"]


def parent(root, folder, options=""):
    path = folder / "Snakefile"
    path.write_text(PARENT.format(root=root, options=options))
    return path


def test_as_a_module_of_another_workflow(away, root, config, tmp_path):
    snakefile = parent(root, tmp_path)
    configured = {"cladescope": config}
    code, printed = away(snakefile, configured, "-n", "--quiet", "rules", "--", "headline")
    assert code == 0, printed
    for rule in ("headline", "cladescope_extract_activations_trained_eval_0"):
        assert rule in printed
    target = "results/datasets/planted/taxonomy.parquet"
    code, printed = away(snakefile, configured, "--", target)
    assert code == 0, printed
    assert (tmp_path / "here" / target).is_file()


def test_prefix_of_a_module_is_refused(away, root, config, tmp_path):
    snakefile = parent(root, tmp_path, 'prefix:\n        "elsewhere"')
    code, printed = away(snakefile, {"cladescope": config}, "-n")
    assert code != 0
    assert "set `results`" in printed


def test_in_another_folder_with_results_on_another_disk(away, root, config, finished, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "here" / "results").symlink_to(tmp_path / "disk")
    code, printed = away(root / "Snakefile", config, "--", f"results/{MANIFEST}")
    assert code == 0, printed
    assert shards(tmp_path / "disk") == shards(finished.folder / "results" / "small")
    code, printed = away(root / "Snakefile", config, "-n", "--", f"results/{MANIFEST}")
    assert "Nothing to be done" in printed


def test_two_at_once_in_one_checkout(checkout, config, tmp_path):
    runs = []
    for name in ("one", "two"):
        config["results"] = str(tmp_path / name)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [SNAKEMAKE, "--cores", "1", "--configfile", path, "--"]
        command.append(tmp_path / name / MANIFEST)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        runs.append(
            subprocess.Popen(
                [str(part) for part in command],
                cwd=checkout.folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    while not (tmp_path / "two" / "logs").exists() and runs[1].poll() is None:
        time.sleep(0.1)
    checkout.write(config)
    second = checkout.run("--", str(tmp_path / "two" / MANIFEST))
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stdout + second.stderr
    assert [run.wait(120) for run in runs] == [0, 0]
    expected = shards(checkout.folder / "results" / "small")
    assert shards(tmp_path / "one") == shards(tmp_path / "two") == expected
