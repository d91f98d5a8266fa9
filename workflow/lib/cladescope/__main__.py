"""Commands beside the workflow: `cladescope COMMAND`."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from cladescope.config import ConfigError, check_keys, complete_config
from cladescope.dictionaries.exchange import EXPORTED, FILES


def main() -> int:
    """Run one command; return its exit status."""
    arguments = _parser().parse_args()
    try:
        return arguments.run(arguments) or 0
    except (ConfigError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cladescope", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], about: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(run=run)
        return added

    plan = command("plan", _plan, "hours, memory, disk, files and Slurm jobs of a configuration")
    plan.add_argument("config", type=Path)
    plan.add_argument("--card", default="H100", help="what is assumed: H200, H100, A100, processor")
    check = command("check", _check, "tell whether a configuration can be used, and what is wrong")
    check.add_argument("config", type=Path)
    layers = command("layers", _layers, "what can be extracted from a timm model")
    layers.add_argument("model")
    layers.add_argument("--image-size", type=int)
    layers.add_argument("--modules", action="store_true", help="all modules that can be layers")
    tree = command("tree", _tree, "the taxonomy of a configuration's classes, with the nodes' ids")
    tree.add_argument("config", type=Path)
    tree.add_argument("--dataset", help="of several")
    status = command("status", _status, "what exists, what is missing or stale, and why")
    status.add_argument("config", type=Path)
    again = "show it anew every so many seconds, until nothing is left to do (default: 30)"
    status.add_argument("--watch", type=float, nargs="?", const=30.0, metavar="SECONDS", help=again)
    verify = command("verify", _verify, "read all activations and results, list what is damaged")
    verify.add_argument("config", type=Path)
    verify.add_argument("--repair", action="store_true", help="make damaged shards again")
    accept = command("seal", _seal, "accept files as they are, whoever has made them")
    accept.add_argument(
        "paths",
        type=Path,
        nargs="+",
        help="results, or a configuration for all its results that have no seal",
    )
    compare = command("compare", _compare, "tell whether two results folders are the same")
    compare.add_argument("config", type=Path, help="of the first results")
    compare.add_argument("second", type=Path, help="another results folder")
    archive = command("archive", _archive, "pack tables, figures and provenance")
    archive.add_argument("config", type=Path)
    archive.add_argument("file", type=Path, help="*.tar.gz")
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
    command("wait", _wait, "wait for the Slurm jobs that a killed run left in this folder")
    gallery = command("gallery", _gallery, "put a study's figures into the documentation")
    gallery.add_argument("config", type=Path)
    return parser


def _plan(arguments: argparse.Namespace) -> None:
    from cladescope.checkout import find_checkout
    from cladescope.operations.plan import make_plan
    from cladescope.operations.plan_lines import PROFILE, Grouping, describe_plan

    grouping = Grouping.load(find_checkout() / PROFILE)
    for line in describe_plan(make_plan(_load(arguments.config)), arguments.card, grouping):
        print(line)


def _check(arguments: argparse.Namespace) -> None:
    # Snakemake reads the file before the workflow does, and names no line of what is no YAML.
    _load(arguments.config)


def _layers(arguments: argparse.Namespace) -> None:
    from cladescope.backbone.layers import common_sites, list_layers, list_modules

    find = list_modules if arguments.modules else list_layers
    layers = find(arguments.model, arguments.image_size)
    kinds = list(layers[0].tokens)
    what = "modules that can be layers" if arguments.modules else "layers"
    print(f"{arguments.model}: {len(layers)} {what}; per image, tokens of")
    longest = max(16, *(len(layer.name) for layer in layers))
    heads = "  ".join(f"{kind:>9}" for kind in kinds)
    print(f"{'layer':>5}  {'module':<{longest}} {'width':>6}  {heads}")
    for layer in layers:
        counts = "  ".join(f"{layer.tokens[kind]:>9}" for kind in kinds)
        number = "" if arguments.modules else layer.number
        print(f"{number:>5}  {layer.name:<{longest}} {layer.width:>6}  {counts}")
    if not arguments.modules:
        print(f"sites of each layer: {', '.join(common_sites(layers))}")


def _tree(arguments: argparse.Namespace) -> None:
    from cladescope.checkout import find_checkout
    from cladescope.images.index import ImageIndex, common_classes
    from cladescope.layout import INDEX, SPLITS
    from cladescope.taxonomy.choice import taxonomy_of
    from cladescope.taxonomy.outline import outline

    config = _load(arguments.config)
    names = list(config["datasets"])
    name = arguments.dataset or names[0]
    if name not in names:
        raise ValueError(f"--dataset {name}: the configuration has {', '.join(names)}")
    # Not from the workflow's taxonomy: that is not made where the configuration names a wrong node.
    results = Path(config["results"])
    paths = {split: results / INDEX.format(dataset=name, split=split) for split in SPLITS}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        raise ValueError(
            "the images are not indexed yet: snakemake --cores all --configfile "
            f"{arguments.config} -- {' '.join(missing)}"
        )
    classes = common_classes({split: ImageIndex.load(path) for split, path in paths.items()})
    table = config["datasets"][name].get("taxonomy")
    nltk_data = find_checkout() / "resources" / "nltk_data"
    for line in outline(taxonomy_of(classes, table, nltk_data)):
        print(line)


def _status(arguments: argparse.Namespace) -> None:
    from cladescope.operations.status import watch_status

    results = Path(_load(arguments.config)["results"])
    with suppress(KeyboardInterrupt):
        for table in watch_status(arguments.config, results, arguments.watch):
            if arguments.watch is not None and sys.stdout.isatty():
                # Clear the screen.
                print("\x1b[H\x1b[2J", end="")
            print(table, flush=True)


def _verify(arguments: argparse.Namespace) -> int:
    from cladescope.operations.verify import repair, verify_activations, verify_seals

    config = _load(arguments.config)
    threads = os.cpu_count() or 1
    faults = verify_activations(config, threads)
    left = [fault.message for fault in faults]
    if arguments.repair:
        left = repair(config, faults, threads)
        print(f"{len(faults) - len(left)} of {len(faults)} faults repaired")
    left += verify_seals(config["results"])
    for message in left:
        print(message)
    fine = "every shard is as its manifest says, every other file as its seal"
    print(f"{len(left)} fault(s)" if left else fine)
    return 1 if left else 0


def _seal(arguments: argparse.Namespace) -> None:
    from cladescope.operations.verify import outputs_of
    from cladescope.seals import seal, seal_of

    for path in arguments.paths:
        if path.suffix in (".yaml", ".yml"):
            found = outputs_of(Path(_load(path)["results"]))
            sealed = [output for output in found if not seal_of(output).exists()]
        else:
            sealed = [path]
        for output in sealed:
            seal(output)
        print(f"{path}: {len(sealed)} sealed")


def _compare(arguments: argparse.Namespace) -> int:
    from cladescope.operations.compare_runs import compare_results

    first = _load(arguments.config)["results"]
    differences = list(compare_results(first, arguments.second))
    for difference in differences:
        print(difference)
    same = f"{first} and {arguments.second} are the same, byte for byte"
    print(f"{len(differences)} files differ" if differences else same)
    return 1 if differences else 0


def _archive(arguments: argparse.Namespace) -> None:
    from cladescope.checkout import find_checkout
    from cladescope.operations.archive import write_archive
    from cladescope.operations.status import unfinished_stages
    from cladescope.operations.verify import verify_seals

    config = _load(arguments.config)
    unfinished = unfinished_stages(arguments.config)
    if unfinished:
        raise ValueError(
            f"not finished, or made with another configuration: {', '.join(unfinished)}; run "
            f"snakemake --configfile {arguments.config} before archiving"
        )
    if damaged := verify_seals(config["results"]):
        raise ValueError("\n".join(damaged))
    documents = [find_checkout() / "docs" / f"{name}.md" for name in ("scores", "reproducibility")]
    count = write_archive(config, documents, arguments.file)
    print(f"{arguments.file}: {count} files, {arguments.file.stat().st_size / 1e6:.1f} MB")


def _score(arguments: argparse.Namespace) -> None:
    import logging

    from cladescope.checkout import find_checkout
    from cladescope.operations.atlas_given import index_given, write_atlas
    from cladescope.operations.score_given import leading_scores, read_given, save_scores
    from cladescope.scores.spec import ScoreSpec

    logging.basicConfig(format="%(levelname)s: %(message)s")
    spec = ScoreSpec()
    if arguments.config:
        spec = ScoreSpec.from_config(_load(arguments.config)["scores"])
    codes, label_file, taxonomy = arguments.codes, arguments.labels, arguments.taxonomy
    given = read_given(codes, label_file, taxonomy, find_checkout() / "resources" / "nltk_data")
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

    experiments = _load(arguments.config)["experiments"].values()
    for said in (s for e in experiments for s in e["sweep"].get("imported", {}).values()):
        source = fetch(Source.from_config(said))
        print(f"{said['folder']}: {source.hub or 'a folder, nothing to fetch'}")


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


def _wait(arguments: argparse.Namespace) -> None:
    from cladescope.operations.slurm_jobs import wait_for_jobs

    wait_for_jobs(Path())


def _gallery(arguments: argparse.Namespace) -> None:
    from cladescope.checkout import find_checkout
    from cladescope.operations.gallery import PAGE, write_gallery

    write_gallery(_load(arguments.config)["results"], find_checkout())
    print(f"{PAGE} written")


def _load(path: Path) -> dict[str, Any]:
    check_keys(path)
    return complete_config(yaml.safe_load(path.read_text()))


if __name__ == "__main__":
    sys.exit(main())
