"""Write cladescope.yaml: the packages that requirements.in names, at the versions of the lock."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "3.12"
HEADER = """\
# For `snakemake --sdm conda`. Written by `make lock`; a test holds its pins equal to the lock's.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={python}
  - pip
  - pip:
"""


def pins() -> dict[str, str]:
    """Return name -> version of every package in the lock that requirements.in names."""
    named = re.findall(r"^([a-z0-9-]+)", (HERE / "requirements.in").read_text(), re.MULTILINE)
    lock = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (HERE / "requirements.txt").read_text(), re.MULTILINE)
    )
    return {name: lock[name] for name in named}


def conda_environment() -> str:
    """Return the text of cladescope.yaml."""
    lines = [f"      - {name}=={version}\n" for name, version in pins().items()]
    return HEADER.format(python=PYTHON) + "".join(lines)


if __name__ == "__main__":
    (HERE / "cladescope.yaml").write_text(conda_environment())
