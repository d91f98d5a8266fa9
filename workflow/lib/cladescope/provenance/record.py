"""Where every number comes from: configuration, code, data, weights, environment and machines.

`record` writes what made an experiment's results; the tables carry it in `COLUMNS`, in every row.
docs/reproducibility.md defines the file and the columns.
"""

import hashlib
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cladescope.checkout import find_checkout
from cladescope.files import read_json, write_json
from cladescope.layout import SPLITS
from cladescope.provenance.identity import DIGITS, digest

FORMAT = "cladescope-provenance-1"
COLUMNS = (
    "config_sha256",
    "code_sha256",
    "git_commit",
    "git_dirty",
    "weights_sha256",
    "data_sha256",
    "environment_sha256",
    "extracted_on",
    "trained_on",
    "encoded_on",
    "scored_on",
)


class RecordedFiles(NamedTuple):
    """What an experiment's numbers are made from."""

    manifests: Sequence[str]
    """Of every store that the experiment's dictionaries use."""
    taxonomy: str
    about: Sequence[str]
    """Of `train_sae`, one of each dictionary, in the order of the plan's."""
    quality: Sequence[str]
    """Of `encode`, likewise."""
    scores: Sequence[str]
    """Of `score_dictionary`, likewise."""
    lock: str
    """Hash-locked requirements."""


def record(
    experiment: str,
    plan: Mapping[str, Any],
    code: Mapping[str, str],
    files: RecordedFiles,
    path: str | Path,
) -> None:
    """Write an experiment's `provenance.json`.

    Parameters
    ----------
    plan
        What `plan_record` returns.
    code
        Fingerprint of each stage's code.
    """
    stores = _stores(files.manifests)
    taxonomy_sha256 = _file_digest(files.taxonomy)
    environment = describe_environment(files.lock)
    shared = {
        "code_sha256": digest(code),
        **describe_checkout(find_checkout()),
        "environment_sha256": environment["lock_sha256"],
    }
    places = {}
    for place, identity in plan["places"].items():
        used = [stores[f"{split}/{place}"] for split in SPLITS]
        data = [*(store["images_sha256"] for store in used), taxonomy_sha256]
        places[place] = {
            **dict.fromkeys(COLUMNS),
            **shared,
            "config_sha256": identity,
            "weights_sha256": used[0]["weights_sha256"],
            "data_sha256": digest(data),
            "extracted_on": _several(machine for store in used for machine in store["machines"]),
        }
    rows = {}
    made = zip(files.about, files.quality, files.scores, strict=True)
    for (folder, identity), (trained, encoded, scored) in zip(
        plan["dictionaries"].items(), made, strict=True
    ):
        rows[folder] = {
            **places["/".join(Path(folder).parts[2:4])],
            "config_sha256": identity,
            "trained_on": read_json(trained)["identity"]["machine"],
            "encoded_on": read_json(encoded)["machine"],
            "scored_on": read_json(scored)["machine"],
        }
    write_json(
        path,
        {
            "format": FORMAT,
            "experiment": experiment,
            "code": code,
            "environment": environment,
            "taxonomy_sha256": taxonomy_sha256,
            "stores": stores,
            "settings": plan["settings"],
            "places": places,
            "dictionaries": rows,
        },
    )


def read_records(files: Iterable[str | Path]) -> pd.DataFrame:
    """Return the provenance columns of everything in the experiments' records.

    The index is a dictionary's folder, or `{experiment}/{token}/L{layer}` for what was computed
    only from activations.
    """
    rows: dict[str, dict[str, Any]] = {}
    for file in files:
        about = read_json(file)
        rows |= about["dictionaries"]
        rows |= {f"{about['experiment']}/{place}": row for place, row in about["places"].items()}
    return pd.DataFrame([*rows.values()], index=[*rows], columns=list(COLUMNS))


def digest_files(paths: Iterable[str | Path]) -> str:
    """Hash the content of some files, in their order, as the records do."""
    return digest([_file_digest(path) for path in paths])


def combine(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the columns for a row that was made from all of `rows`.

    Where they differ: the hash of the different hashes, whether any was dirty, all machines.
    """
    combined = {}
    for column in COLUMNS:
        values = sorted(rows[column].dropna().unique(), key=str)
        if len(values) < 2:
            combined[column] = values[0] if values else None
        elif column == "git_dirty":
            combined[column] = True
        elif column.endswith("_on"):
            combined[column] = _several(values)
        else:
            combined[column] = digest(values)
    return combined


def stamp(table: pd.DataFrame, made: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Append the provenance columns to a table, each of whose rows was made from several rows.

    Parameters
    ----------
    made
        Rows with provenance columns and the columns `by`; a row of `table` was made from those
        that have its values of `by`.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, key in enumerate(_keys(made, by)):
        groups.setdefault(key, []).append(position)
    found = {key: combine(made.iloc[positions]) for key, positions in groups.items()}
    rows = [found[key] for key in _keys(table, by)]
    columns = pd.DataFrame(rows, columns=list(COLUMNS), index=table.index)
    return pd.concat([table, columns], axis=1)


def describe_checkout(folder: Path) -> dict[str, Any]:
    """Return the commit of the code and whether files have changed since; None without git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    top, commit, changes = (
        git("rev-parse", "--show-toplevel"),
        git("rev-parse", "HEAD"),
        git("status", "--porcelain"),
    )
    # A copy of the code inside some other repository has no commit of its own.
    if top is None or commit is None or Path(top).resolve() != folder.resolve():
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": commit, "git_dirty": bool(changes)}


def describe_environment(lock: str | Path) -> dict[str, Any]:
    """Return the lock's hash, the installed versions, and those that differ from the lock."""
    pins = dict(
        re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", Path(lock).read_text(), re.MULTILINE)
    )
    installed: dict[str, str | None] = {}
    for name in sorted(pins):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = None
    return {
        "lock_sha256": _file_digest(lock),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: found for name, found in installed.items() if found},
        "not_as_locked": {
            name: [pin, installed[name]]
            for name, pin in sorted(pins.items())
            if installed[name] not in (pin, None)
        },
    }


def _stores(manifests: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what each manifest says of its origin, by `split/token/L{layer}`."""
    stores = {}
    for manifest in manifests:
        about, path = read_json(manifest), Path(manifest)
        stores["/".join([*path.parts[-3:-1], path.stem])] = {
            "manifest_sha256": _file_digest(manifest),
            "images_sha256": about["made_from"]["images_sha256"],
            "weights_sha256": about["made_from"]["weights_sha256"],
            "versions": about["made_from"]["versions"],
            "machines": about["machines"],
        }
    return stores


def _keys(table: pd.DataFrame, by: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return each row's values of `by`; missing values are equal to each other."""
    parts = table[list(by)].astype(object)
    return [*parts.where(parts.notna(), None).itertuples(index=False, name=None)]


def _several(machines: Iterable[str]) -> str:
    return " / ".join(sorted(set(machines)))


def _file_digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:DIGITS]
