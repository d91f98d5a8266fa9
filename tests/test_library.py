"""The example of docs/library.md, as it stands there."""

import re
import subprocess
import sys

import pandas as pd
import yaml

from checkouts import SMALL


def test_example_of_the_library_prints_the_ten_best_nodes(finished, root, tmp_path):
    """Run away from a checkout, with the small study's results in place of the demo's."""
    (example,) = re.findall(
        r"^```python\n(.*?)^```", (root / "docs/library.md").read_text(), re.S | re.M
    )
    assert len([line for line in example.splitlines() if line]) < 20
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "results").symlink_to(finished.folder / "results")
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root / "workflow" / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["name", "best_mcc", "best_mcc_null_permuted"]
    printed = pd.DataFrame([row.split()[1:] for row in rows], columns=header.split())
    assert len(printed) == 10
    assert printed["name"].str.fullmatch(r"[\w'.-]+\.n\.\d\d").all()
    scores = printed[["best_mcc", "best_mcc_null_permuted"]].astype(float)
    assert scores["best_mcc"].is_monotonic_decreasing
    assert (scores["best_mcc"] > scores["best_mcc_null_permuted"]).all()
