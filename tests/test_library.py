"""The examples of docs/library.md, as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
import yaml

from checkouts import SMALL


def examples(root: Path) -> list[str]:
    """Return those that need no other library."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (root / "docs/library.md").read_text(), re.S | re.M
    )
    return blocks[:2]


def printed_by(example: str, folder: Path, root: Path) -> str:
    (folder / "example.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env={"PYTHONPATH": str(root / "workflow" / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_example_of_the_library_prints_the_ten_best_nodes(finished, root, tmp_path):
    """Run away from a checkout, with the small study's results in place of the demo's."""
    example, _ = examples(root)
    assert len([line for line in example.splitlines() if line]) < 20
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "results").symlink_to(finished.folder / "results")
    header, *rows = printed_by(example, tmp_path, root).splitlines()
    assert header.split() == ["name", "best_mcc", "best_mcc_null_permuted"]
    printed = pd.DataFrame([row.split()[1:] for row in rows], columns=header.split())
    assert len(printed) == 10
    assert printed["name"].str.fullmatch(r"[\w'.-]+\.n\.\d\d").all()
    scores = printed[["best_mcc", "best_mcc_null_permuted"]].astype(float)
    assert scores["best_mcc"].is_monotonic_decreasing
    assert (scores["best_mcc"] > scores["best_mcc_null_permuted"]).all()


def test_example_of_codes_from_elsewhere_finds_its_nodes(root, tmp_path):
    """One latent for each of two nodes that nothing else has in common: dogs, and cats."""
    _, example = examples(root)
    dogs, cats = ("n02085620", "n02088364", "n02110958"), ("n02123045", "n02123394", "n02124075")
    labels = np.repeat([*dogs, *cats], 40)
    z = scipy.sparse.csr_array(np.stack([np.isin(labels, dogs), np.isin(labels, cats)], 1) * 1.5)
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n")
    scipy.sparse.save_npz(tmp_path / "codes.npz", z)
    (tmp_path / "resources").symlink_to(root / "resources")
    held_out, _, *nodes = printed_by(example, tmp_path, root).splitlines()
    assert float(held_out.split()[0]) > 0.5
    best = {row.split()[1]: float(row.split()[2]) for row in nodes}
    assert {name for name, mcc in best.items() if mcc == 1} == {"dog.n.01", "domestic_cat.n.01"}
