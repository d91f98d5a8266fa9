"""Commands for what is made elsewhere: codes, dictionaries, pictures. Most need no study."""

import argparse
from collections.abc import Callable
from pathlib import Path

import yaml

from cladescope.config import load_config
from cladescope.dictionaries.exchange import EXPORTED, FILES


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add them by what makes one of a name, the function that runs it, and what it is for."""
    score = command("score", _score, "score codes that were made elsewhere, without a study")
    score.add_argument("--codes", type=Path, required=True, help="*.parquet, *.npz or *.npy")
    score.add_argument("--labels", type=Path, required=True, help="the class of each image")
    score.add_argument(
        "--taxonomy",
        required=True,
        help="wordnet, imagenet-1k, a CSV table of parents, or a taxonomy of a study",
    )
    score.add_argument("--out", type=Path, required=True, help="folder for the tables")
    score.add_argument("--config", type=Path, help="whose `scores` are used; else their defaults")
    score.add_argument("--images", type=Path, help="folder of the images: write the atlas, too")
    enter = command("import", _import, "make a dictionary of another library's files")
    enter.add_argument("format", choices=[*FILES])
    enter.add_argument("folder", type=Path, help="with its files, or hub:owner/name")
    enter.add_argument("weights", type=Path, help="sae.safetensors to write, its JSON beside it")
    enter.add_argument("--file", help="name of the weights, if it is not that of the format")
    enter.add_argument("--settings", type=yaml.safe_load, default={}, help="what the files lack")
    get = command("fetch", _fetch, "download the hub's dictionaries that a configuration imports")
    get.add_argument("config", type=Path)
    out = command("publish", _publish, "write a dictionary, its scores and a card for the hub")
    out.add_argument("dictionary", type=Path, help="its folder in the results")
    out.add_argument("folder", type=Path, help="to write, and to upload")
    out.add_argument("--push", metavar="OWNER/NAME", help="upload it to this repository of the hub")
    leave = command("export", _export, "write a dictionary in another library's format")
    leave.add_argument("format", choices=EXPORTED)
    leave.add_argument("weights", type=Path, help="sae.safetensors, with its JSON beside it")
    leave.add_argument("folder", type=Path)
    real = command("prepare-real", _prepare_real, "fetch and draw what config/real.yaml reads")
    real.add_argument("folder", type=Path)


def _score(arguments: argparse.Namespace) -> None:
    import logging

    from cladescope.checkout import find_checkout
    from cladescope.operations.atlas_given import index_given, write_atlas
    from cladescope.operations.score_given import (
        BY_WORDNET,
        leading_scores,
        read_given,
        save_scores,
    )
    from cladescope.scores.spec import ScoreSpec

    logging.basicConfig(format="%(levelname)s: %(message)s")
    spec = ScoreSpec()
    if arguments.config:
        spec = ScoreSpec.from_config(load_config(arguments.config)["scores"])
    codes, label_file, taxonomy = arguments.codes, arguments.labels, arguments.taxonomy
    # A table says all by itself, wherever the package is installed.
    wordnet = find_checkout() / "resources" / "nltk_data" if taxonomy in BY_WORDNET else Path()
    given = read_given(codes, label_file, taxonomy, wordnet)
    index = index_given(given, arguments.images) if arguments.images else None
    scores = given.score(spec)
    made_from = {"codes": str(codes), "labels": str(label_file), "taxonomy": taxonomy}
    save_scores(scores, arguments.out, made_from)
    if index:
        site = write_atlas(given, scores, spec, index, arguments.images, arguments.out)
        print(f"{site}: the atlas, for a browser")
    for line in leading_scores(scores):
        print(line)
    print(f"{arguments.out}: all scores and tables; docs/scores.md says what each is")


def _import(arguments: argparse.Namespace) -> None:
    from cladescope.dictionaries.exchange import Source
    from cladescope.dictionaries.exchange.hub import located
    from cladescope.dictionaries.exchange.importing import import_dictionary
    from cladescope.seals import seal

    if not isinstance(arguments.settings, dict):
        raise ValueError("--settings: give them as YAML, '{name: value}'")
    where = (arguments.folder, arguments.file, arguments.settings)
    import_dictionary(located(Source(arguments.format, *where)), arguments.weights)
    for path in (arguments.weights, arguments.weights.with_suffix(".json")):
        seal(path)


def _fetch(arguments: argparse.Namespace) -> None:
    from cladescope.dictionaries.exchange import Source
    from cladescope.dictionaries.exchange.hub import fetch
    from cladescope.dictionaries.exchange.importing import read_dictionary

    experiments = load_config(arguments.config)["experiments"].values()
    for said in (s for e in experiments for s in e["sweep"].get("imported", {}).values()):
        source = fetch(Source.from_config(said))
        dictionary, _ = read_dictionary(source)
        what = f"{dictionary.width} latents of {len(dictionary.mean)} dimensions"
        print(f"{said['folder']}: {source.hub or 'a folder, nothing to fetch'}, {what}")


def _export(arguments: argparse.Namespace) -> None:
    from cladescope.dictionaries.exchange.saelens import export_saelens

    export_saelens(arguments.weights, arguments.folder)


def _publish(arguments: argparse.Namespace) -> None:
    from cladescope.operations.publish import push, write_folder

    write_folder(arguments.dictionary, arguments.folder)
    print(f"{arguments.folder}: written; read its README.md before anyone else does")
    if arguments.push:
        print(f"{push(arguments.folder, arguments.push)}: uploaded")


def _prepare_real(arguments: argparse.Namespace) -> None:
    from cladescope.checkout import find_checkout
    from cladescope.emoji.prepare import prepare

    fresh = prepare(arguments.folder, find_checkout() / "resources" / "emoji")
    print(f"{arguments.folder}: {'prepared' if fresh else 'prepared before'}")
