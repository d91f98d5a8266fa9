"""A dictionary of a study as a folder for the Hugging Face hub: weights, scores, model card."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cladescope.dictionaries.dictionary import FORMAT, Dictionary
from cladescope.files import read_json, write_aside
from cladescope.names import INTERVAL, PERMUTED, RANDOM, SCORES, SHUFFLED, labels
from cladescope.seals import check_seal

CARD = "README.md"
FILES = ("sae.safetensors", "sae.json", "quality.json", "scores.json")
"""Of the dictionary's folder, all of which are published."""
RECORD = "provenance.json"
"""Of its experiment, which is, too: it names no folder of this machine."""
NULLS = {PERMUTED: "leaves permuted", SHUFFLED: "labels shuffled", RANDOM: "random images"}

ENCODE = """\
import json

import numpy as np
from safetensors.numpy import load_file

w, about = load_file("sae.safetensors"), json.load(open("sae.json"))


def encode(x):  # (tokens, d), as the model outputs them
    seen = (x - w["mean"]) / np.float32(about["scale"]) - w["decoder_bias"]
    p = seen @ w["encoder"].T + w["encoder_bias"]
    p = np.where(p > w.get("threshold", 0), p, 0)
    least = np.sort(p)[:, -(about["k"] or p.shape[1])][:, None]
    return np.where(p >= least, p, 0)


def decode(z):
    return (z @ w["decoder"] + w["decoder_bias"]) * about["scale"] + w["mean"]
"""
"""How a dictionary without trees and rules encodes; equal activations aside, as `Dictionary`."""


def write_folder(source: str | Path, folder: str | Path) -> None:
    """Write what is to be uploaded of a scored dictionary of a finished study.

    Parameters
    ----------
    source
        The dictionary's folder in the results, or `sae.safetensors` in it.
    folder
        Not there yet, or empty. The same results make the same bytes.

    Raises
    ------
    FileNotFoundError
        Names what of the study is not there.
    FileExistsError
        If there is something in `folder`.
    ValueError
        If a file is not what its seal says.
    """
    source, folder = Path(source), Path(folder)
    source = source.parent if source.suffix == ".safetensors" else source
    # {experiment}/dictionaries/{token}/L{layer}/{variant}/{name}
    experiment = source.absolute().parents[4]
    files = [*(source / name for name in FILES), experiment / RECORD]
    if missing := [str(path) for path in files if not path.is_file()]:
        raise FileNotFoundError(
            f"{', '.join(missing)} not there; give the folder of a dictionary in the results of a "
            "finished run"
        )
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name another folder, or empty it")
    for path in files:
        check_seal(path)
    Dictionary.load(source / FILES[0])
    with write_aside(folder) as aside:
        aside.mkdir()
        for path in files:
            shutil.copyfile(path, aside / path.name)
        place = source.absolute().relative_to(experiment.parent).as_posix()
        (aside / CARD).write_text("\n".join(card(aside, place)) + "\n")


def card(folder: Path, place: str) -> Iterator[str]:
    """Yield the lines of the model card of what lies in a folder.

    Parameters
    ----------
    place
        `{experiment}/dictionaries/{token}/L{layer}/{variant}/{name}`.
    """
    about, record = read_json(folder / "sae.json"), read_json(folder / RECORD)
    scores, quality = read_json(folder / "scores.json"), read_json(folder / "quality.json")
    dictionary = Dictionary.load(folder / FILES[0])
    _, _, token, layer, variant, _ = place.split("/")
    model = record["settings"]["backbone"]["model"]
    yield from ("---", "library_name: cladescope", "tags:", "- sparse-autoencoder")
    yield from ("- interpretability", "- image-feature-extraction", "---", "")
    yield f"# A `{variant}` dictionary of {model}, layer {layer[1:]}, token `{token}`"
    fires = f"at most {dictionary.k}" if dictionary.k else "as many as exceed a threshold"
    yield from (
        "",
        f"{dictionary.width} latents over {len(dictionary.mean)} dimensions, {fires} on a token.",
        "It was scored against the class hierarchy by Cladescope, whose documents say what each",
        "number means (`docs/scores.md`), which claim needs which (`docs/evidence.md`) and how the",
        "files are read (`docs/dictionaries.md`).",
        "",
        "## What of the hierarchy it holds",
        "",
        "A score says something only beside its nulls, and beside those of k-means and untrained",
        "dictionaries of the same width on the same activations, which are not in this folder.",
        "",
    )
    yield from _score_table(scores)
    yield from ("", "## How well it reconstructs", "", "| | |", "|---|---|")
    yield from (f"| `{name}` | {_number(value)} |" for name, value in sorted(quality.items()))
    yield from ("", "## Encode", "")
    if about["format"] == FORMAT:
        yield from ("```python", *ENCODE.splitlines(), "```")
    else:
        yield f"Its format is `{about['format']}`, which `Dictionary.load` of Cladescope reads."
    yield from ("", "## Provenance", "", "`weights_sha256` is of the model's weights.", "")
    digest = hashlib.sha256((folder / FILES[0]).read_bytes()).hexdigest()
    row = {**record["dictionaries"].get(place, {}), "sae.safetensors sha256": digest}
    yield from ("| | |", "|---|---|")
    yield from (f"| {name} | `{value}` |" for name, value in sorted(row.items()))
    yield from ("", "How it was made, with all settings of the study in `provenance.json`:", "")
    yield from ("```json", json.dumps(about["identity"], indent=2, sort_keys=True), "```")


def push(folder: str | Path, repository: str) -> str:
    """Upload a folder to a repository of the hub, made if need be; return where it is.

    The token is huggingface_hub's own (`hf auth login`, or `HF_TOKEN`).

    Raises
    ------
    OSError
        Of the hub: no access, no network.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    hub.create_repo(repository, exist_ok=True)
    return str(hub.upload_folder(repo_id=repository, folder_path=folder))


def _score_table(scores: dict[str, Any]) -> Iterator[str]:
    """Yield a row for each score that the dictionary has, with interval and nulls."""
    yield f"| score | (95%) | {' | '.join(NULLS.values())} |"
    yield "|---|---|" + "---|" * len(NULLS)
    for name, label in labels(*SCORES).items():
        if scores.get(name) is None:
            continue
        cells = [_with_ends(scores, name)]
        for null in NULLS:
            known = null in SCORES[name].nulls
            cells.append(_with_ends(scores, f"{name}_null_{null}") if known else "")
        yield f"| {label} (`{name}`) | {' | '.join(cells)} |"


def _with_ends(scores: dict[str, Any], name: str) -> str:
    """Return a number, and in brackets the ends of its interval, if it has one."""
    value, *ends = (scores.get(f"{name}{end}") for end in ("", *INTERVAL))
    if value is None:
        return ""
    return _number(value) + (f" ({' to '.join(map(_number, ends))})" if None not in ends else "")


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
