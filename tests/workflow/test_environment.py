import re
import sys

import yaml


def test_conda_environment_has_the_pins_of_the_lock(root):
    sys.path.insert(0, str(root / "envs"))
    try:
        import pin_conda
    finally:
        sys.path.pop(0)
    written = (root / "envs" / "cladescope.yaml").read_text()
    assert written == pin_conda.conda_environment()
    packages = yaml.safe_load(written)["dependencies"][-1]["pip"]
    lock = (root / "envs" / "requirements.txt").read_text()
    assert packages
    for package in packages:
        assert re.search(rf"^{re.escape(package)}( |$)", lock, re.MULTILINE), package


def test_development_lock_extends_the_runtime_lock(root):
    pins = {
        name: set(re.findall(r"^\S+==\S+", (root / "envs" / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    }
    assert pins["requirements.txt"] < pins["requirements-dev.txt"]


def test_locks_are_hashed_and_name_no_index(root):
    for lock in ("requirements.txt", "requirements-dev.txt", "peers.txt", "uv.txt"):
        text = (root / "envs" / lock).read_text()
        assert "--hash=sha256:" in text
        assert "index-url" not in text
        assert "find-links" not in text
