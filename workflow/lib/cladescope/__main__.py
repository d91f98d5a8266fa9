"""Commands beside the workflow: `cladescope COMMAND`."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cladescope.config import ConfigError, load_config
from cladescope.operations.elsewhere import add_commands

Run = Callable[[argparse.Namespace], int | None]


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

    def command(name: str, run: Run, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(run=run)
        return added

    def of_study(name: str, run: Run, about: str) -> argparse.ArgumentParser:
        added = command(name, run, about)
        added.add_argument("config", type=Path)
        return added

    plan = of_study("plan", _plan, "hours, memory, disk, files and Slurm jobs of a configuration")
    plan.add_argument("--card", default="H100", help="what is assumed: H200, H100, A100, processor")
    of_study("check", _check, "tell whether a configuration can be used, and what is wrong")
    layers = command("layers", _layers, "what can be extracted from a timm model")
    layers.add_argument("model")
    layers.add_argument("--image-size", type=int)
    layers.add_argument("--modules", action="store_true", help="all modules that can be layers")
    tree = of_study("tree", _tree, "the taxonomy of a configuration's classes, with the nodes' ids")
    tree.add_argument("--dataset", help="of several")
    status = of_study("status", _status, "what exists, what is missing or stale, and why")
    again = "show it anew every so many seconds, until nothing is left to do (default: 30)"
    status.add_argument("--watch", type=float, nargs="?", const=30.0, metavar="SECONDS", help=again)
    verify = of_study("verify", _verify, "read all activations and results, list what is damaged")
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
    archive = of_study("archive", _archive, "pack tables, figures and provenance")
    archive.add_argument("file", type=Path, help="*.tar.gz")
    add_commands(command)
    command("wait", _wait, "wait for the Slurm jobs that a killed run left in this folder")
    of_study("gallery", _gallery, "put a study's figures into the documentation")
    return parser


def _plan(arguments: argparse.Namespace) -> None:
    from cladescope.checkout import find_checkout
    from cladescope.operations.plan import make_plan
    from cladescope.operations.plan_lines import PROFILE, Grouping, describe_plan

    grouping = Grouping.load(find_checkout() / PROFILE)
    for line in describe_plan(make_plan(load_config(arguments.config)), arguments.card, grouping):
        print(line)


def _check(arguments: argparse.Namespace) -> None:
    # Snakemake reads the file before the workflow does, and names no line of what is no YAML.
    load_config(arguments.config)


def _layers(arguments: argparse.Namespace) -> None:
    from cladescope.backbone.layers import common_sites, list_modules, readable_layers

    find = list_modules if arguments.modules else readable_layers
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

    config = load_config(arguments.config)
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

    results = Path(load_config(arguments.config)["results"])
    with suppress(KeyboardInterrupt):
        for table in watch_status(arguments.config, results, arguments.watch):
            if arguments.watch is not None and sys.stdout.isatty():
                # Clear the screen.
                print("\x1b[H\x1b[2J", end="")
            print(table, flush=True)


def _verify(arguments: argparse.Namespace) -> int:
    from cladescope.operations.verify import repair, verify_activations, verify_seals

    config = load_config(arguments.config)
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
            found = outputs_of(Path(load_config(path)["results"]))
            sealed = [output for output in found if not seal_of(output).exists()]
        else:
            sealed = [path]
        for output in sealed:
            seal(output)
        print(f"{path}: {len(sealed)} sealed")


def _compare(arguments: argparse.Namespace) -> int:
    from cladescope.operations.compare_runs import compare_results

    first = load_config(arguments.config)["results"]
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

    config = load_config(arguments.config)
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


def _wait(arguments: argparse.Namespace) -> None:
    from cladescope.operations.slurm_jobs import wait_for_jobs

    wait_for_jobs(Path())


def _gallery(arguments: argparse.Namespace) -> None:
    from cladescope.checkout import find_checkout
    from cladescope.operations.gallery import PAGE, write_gallery

    write_gallery(load_config(arguments.config)["results"], find_checkout())
    print(f"{PAGE} written")


if __name__ == "__main__":
    sys.exit(main())
