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


def test_container_is_locked_by_hash_and_not_run_by_root(root):
    """No image is built here: what matters most is read from the file."""
    text = re.sub(r"\\\n\s*|^#.*\n", "", (root / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    bases = [rest.split()[0] for word, rest in lines if word == "FROM"]
    assert bases and all(re.fullmatch(r"python:3\.1[123]-slim-\w+", base) for base in bases)
    steps = [step for word, rest in lines if word == "RUN" for step in rest.split("&&")]
    installs = [step for step in steps if re.search(r"\bpip\b", step)]
    assert len(installs) == 2
    assert all("--require-hashes" in step and "--no-cache" in step for step in installs)
    copied = {path for word, rest in lines if word == "COPY" for path in rest.split()[:-1]}
    locks = {"envs/uv.txt", "envs/requirements.txt"}
    assert copied - locks == {"--from=packages", "/opt/cladescope"}
    assert (root / ".dockerignore").read_text().split() == [
        "*",
        *(f"!{x}" for x in sorted(locks)[::-1]),
    ]
    users = [rest for word, rest in lines if word == "USER"]
    assert users and int(users[-1]) > 0


def test_development_lock_extends_the_runtime_lock(root):
    pins = {
        name: set(re.findall(r"^\S+==\S+", (root / "envs" / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    }
    assert pins["requirements.txt"] < pins["requirements-dev.txt"]


def test_locks_are_hashed_and_name_no_index(root):
    for lock in ("requirements.txt", "requirements-dev.txt", "peers.txt", "docs.txt", "uv.txt"):
        text = (root / "envs" / lock).read_text()
        assert "--hash=sha256:" in text
        assert "index-url" not in text
        assert "find-links" not in text
