"""Commands beside the workflow: `python -m cladescope COMMAND`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from cladescope.config import ConfigError, complete_config

TERAFLOPS = 100.0
"""Assumed speed of the plan: what one current data-centre GPU sustains in bfloat16, cautiously."""


def main() -> int:
    """Run one command; return its exit status."""
    parser = argparse.ArgumentParser(prog="cladescope", description=__doc__)
    commands = parser.add_subparsers(required=True)
    layers = commands.add_parser("list_layers", help="what can be extracted from a timm model")
    layers.add_argument("model")
    layers.add_argument("--image-size", type=int)
    layers.set_defaults(run=_list_layers)
    verify = commands.add_parser("verify_activations", help="read every shard, report the damaged")
    verify.add_argument("config", type=Path)
    verify.add_argument("--repair", action="store_true", help="make damaged shards again")
    verify.set_defaults(run=_verify_activations)
    plan = commands.add_parser(
        "plan", help="hours, memory, disk, files and Slurm jobs of a configuration"
    )
    plan.add_argument("config", type=Path)
    plan.add_argument("--teraflops", type=float, default=TERAFLOPS)
    plan.set_defaults(run=_plan)
    leave = commands.add_parser("export_saelens", help="write a dictionary in SAELens's format")
    leave.add_argument("weights", type=Path, help="sae.safetensors, with its JSON beside it")
    leave.add_argument("folder", type=Path)
    leave.set_defaults(run=_export_saelens)
    enter = commands.add_parser("import_saelens", help="make a dictionary of SAELens's files")
    enter.add_argument("folder", type=Path)
    enter.add_argument("weights", type=Path)
    enter.set_defaults(run=_import_saelens)
    wait = commands.add_parser("wait_for_jobs", help="wait for Slurm jobs of a killed run")
    wait.set_defaults(run=_wait_for_jobs)
    status = commands.add_parser("status", help="what exists, what is missing or stale, and why")
    status.add_argument("config", type=Path)
    status.set_defaults(run=_status)
    compare = commands.add_parser("compare", help="tell whether two results folders are the same")
    compare.add_argument("config", type=Path, help="of the first results")
    compare.add_argument("second", type=Path, help="another results folder")
    compare.set_defaults(run=_compare)
    archive = commands.add_parser("archive", help="pack tables, figures and provenance")
    archive.add_argument("config", type=Path)
    archive.add_argument("file", type=Path, help="*.tar.gz")
    archive.set_defaults(run=_archive)
    gallery = commands.add_parser("gallery", help="put a study's figures into the documentation")
    gallery.add_argument("config", type=Path)
    gallery.set_defaults(run=_gallery)
    check = commands.add_parser("check_archive", help="compare an archive with its checksums")
    check.add_argument("file", type=Path)
    check.set_defaults(run=_check_archive)
    arguments = parser.parse_args()
    try:
        return arguments.run(arguments)
    except (ConfigError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def _list_layers(arguments: argparse.Namespace) -> int:
    from cladescope.backbone.backbone import list_layers

    layers = list_layers(arguments.model, arguments.image_size)
    kinds = list(layers[0].tokens)
    print(f"{arguments.model}: {len(layers)} layers; per image, tokens of")
    print(f"{'layer':>5}  {'module':<16} {'width':>6}  " + "  ".join(f"{k:>9}" for k in kinds))
    for layer in layers:
        counts = "  ".join(f"{layer.tokens[kind]:>9}" for kind in kinds)
        print(f"{layer.number:>5}  {layer.name:<16} {layer.width:>6}  {counts}")
    return 0


def _verify_activations(arguments: argparse.Namespace) -> int:
    from cladescope.operations.verify import repair, verify_activations

    config = _load(arguments.config)
    threads = os.cpu_count() or 1
    faults = verify_activations(config, threads)
    left = [fault.message for fault in faults]
    if arguments.repair:
        left = repair(config, faults, threads)
        print(f"{len(faults) - len(left)} of {len(faults)} faults repaired")
    for message in left:
        print(message)
    print(f"{len(left)} fault(s)" if left else "every shard is as its manifest says")
    return 1 if left else 0


def _plan(arguments: argparse.Namespace) -> int:
    from cladescope.operations.plan import Grouping, describe_plan, make_plan

    plan = make_plan(_load(arguments.config))
    for line in describe_plan(plan, arguments.teraflops, Grouping.load()):
        print(line)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from cladescope.operations.status import describe_status

    print(describe_status(arguments.config, Path(_load(arguments.config)["results"])))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from cladescope.operations.compare_runs import compare_results

    first = _load(arguments.config)["results"]
    differences = list(compare_results(first, arguments.second))
    for difference in differences:
        print(difference)
    same = f"{first} and {arguments.second} are the same, byte for byte"
    print(f"{len(differences)} files differ" if differences else same)
    return 1 if differences else 0


def _archive(arguments: argparse.Namespace) -> int:
    from cladescope.operations.archive import write_archive
    from cladescope.provenance.record import CHECKOUT

    documents = [CHECKOUT / "docs" / f"{name}.md" for name in ("scores", "reproducibility")]
    count = write_archive(_load(arguments.config), documents, arguments.file)
    print(f"{arguments.file}: {count} files, {arguments.file.stat().st_size / 1e6:.1f} MB")
    return 0


def _gallery(arguments: argparse.Namespace) -> int:
    from cladescope.operations.gallery import PAGE, write_gallery

    write_gallery(_load(arguments.config)["results"])
    print(f"{PAGE} written")
    return 0


def _check_archive(arguments: argparse.Namespace) -> int:
    from cladescope.operations.archive import check_archive

    faults = check_archive(arguments.file)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} fault(s)" if faults else "every file is as its checksum says")
    return 1 if faults else 0


def _export_saelens(arguments: argparse.Namespace) -> int:
    from cladescope.dictionaries.exchange.saelens import export_saelens

    export_saelens(arguments.weights, arguments.folder)
    return 0


def _import_saelens(arguments: argparse.Namespace) -> int:
    from cladescope.dictionaries.exchange.saelens import import_saelens

    import_saelens(arguments.folder, arguments.weights)
    return 0


def _wait_for_jobs(arguments: argparse.Namespace) -> int:
    from cladescope.operations.slurm_jobs import wait_for_jobs

    wait_for_jobs(Path())
    return 0


def _load(path: Path) -> dict[str, Any]:
    return complete_config(yaml.safe_load(path.read_text()))


if __name__ == "__main__":
    sys.exit(main())
