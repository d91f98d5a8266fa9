"""What reruns after edits of the paper's experiment: 40 blocks, 256 image shards.

Its files are pretended to be made.
"""

import re
from collections import Counter

import pytest
import yaml
from benchmarks import dag

from checkouts import CURVES, SHARED, TABLES, dictionaries, edit


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """A folder where the paper's experiment is made for one width and sparsity."""
    folder = tmp_path_factory.mktemp("paper")
    dag.write_inputs(folder, dag.paper_config(SMALL_GRID))
    dag.pretend_finished(folder)
    return folder


SMALL_GRID, _, FULL_GRID = dag.GRIDS
PAPER_TABLES = {rule: 1 for rule in TABLES if rule != "contrast_drawn"}


def planned(folder, config) -> dict[str, int]:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    _, printed = dag.dry_run(folder, "--quiet", "rules")
    counts = Counter()
    for rule, count in re.findall(r"^(\w+) +(\d+)$", printed.partition("total")[0], re.MULTILINE):
        counts[SHARED.sub(r"\1", rule)] += int(count)
    return {rule: count for rule, count in counts.items() if rule != "all"}


def test_papers_experiment_without_an_edit(paper):
    assert planned(paper, dag.paper_config(SMALL_GRID)) == {}


def test_papers_experiment_grows_to_its_full_grid(paper, root):
    """48 instead of 3 TopK dictionaries in each of 40 blocks, and nothing is extracted."""
    # A block's TopK dictionaries share a job of training, all of its dictionaries the others.
    expected = dictionaries(40) | {"match_seeds": 40} | CURVES | PAPER_TABLES
    expected |= {"plot_top_images": 1}
    config = dag.paper_config(FULL_GRID)
    assert config == yaml.safe_load((root / "config" / "dinov2_imagenet.yaml").read_text())
    assert planned(paper, config) == expected


def test_papers_experiment_with_other_scores_and_a_layer_less(paper):
    config = edit(dag.paper_config(SMALL_GRID), {"scores.null_draws": 50})
    layers = [layer for layer in range(1, 41) if layer != 20]
    config["experiments"]["dinov2"]["sweep"]["layers"] = layers
    # A job for each block of the trained backbone and for the six dictionaries of the random one.
    expected = {"score_dictionary": 39 + 6} | CURVES | PAPER_TABLES | {"plot_top_images": 1}
    assert planned(paper, config) == expected | {"record_provenance": 2}
