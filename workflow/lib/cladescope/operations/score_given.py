"""Scores of codes that were made elsewhere, without a study around them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cladescope.codes.codes import Codes
from cladescope.codes.given import read_codes
from cladescope.files import write_json
from cladescope.images.classes import IMAGENET_1K, read_wnid_map
from cladescope.images.sources.label_files import read_label_file
from cladescope.machines import machine
from cladescope.names import PERMUTED, SCORES, labels
from cladescope.scores.score import DictionaryScores, score_dictionary
from cladescope.scores.spec import ScoreSpec
from cladescope.taxonomy.choice import taxonomy_of
from cladescope.taxonomy.taxonomy import Taxonomy

WORDNET = "wordnet"
BY_WORDNET = (WORDNET, IMAGENET_1K)
"""Names of taxonomies that are read from WordNet's files."""
LEADING = (
    "n_scored",
    "held_out",
    "own_best_recovery",
    "node_recovery",
    "node_recovery_above_null",
    "coherent_share",
    "monosemanticity",
    "lch_height",
    "ontological_coverage",
)
"""What is printed: the held-out classes first."""


@dataclass(frozen=True, eq=False)
class Given:
    """Codes, and what they are scored against."""

    codes: Codes
    labels: np.ndarray
    """Int (n_images,): class of each image, in the order of the taxonomy's leaves."""
    taxonomy: Taxonomy
    paths: list[str] | None
    """Of the images, where the labels name them."""

    def score(self, spec: ScoreSpec) -> DictionaryScores:
        """Score them as the workflow scores its own."""
        return score_dictionary(self.codes, self.labels, self.taxonomy, spec)


def read_given(
    codes: str | Path, label_file: str | Path, taxonomy: str, nltk_data: str | Path
) -> Given:
    """Read the codes of a file, their labels and the taxonomy.

    Parameters
    ----------
    codes
        As `read_codes` takes them.
    label_file
        The class of each image, in the order of the codes: as `read_label_file` takes it, or an
        image index of the workflow.
    taxonomy
        `wordnet`, whose ids the labels are; `imagenet-1k`, whose classes they number; a CSV table
        of parents; or a taxonomy of the workflow (Parquet).
    nltk_data
        Folder of WordNet, for the first two.

    Raises
    ------
    FileNotFoundError, ValueError
        Names the file and what is wrong with it.
    """
    paths, names = read_label_file(label_file)
    if taxonomy == IMAGENET_1K:
        names = _of_imagenet(names, label_file)
    classes, of_image = np.unique(names, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{label_file}: all images are of one class; a hierarchy needs several")
    tree = _taxonomy([*map(str, classes)], taxonomy, nltk_data)
    return Given(read_codes(codes, len(names), paths or ()), of_image, tree, paths)


def save_scores(scores: DictionaryScores, folder: Path, made_from: dict[str, Any]) -> None:
    """Write every table and `scores.json`, and in `made_from.json` what they are of."""
    folder.mkdir(parents=True, exist_ok=True)
    scores.save(folder, machine(1))
    write_json(folder / "made_from.json", made_from)


def leading_scores(scores: DictionaryScores) -> Iterator[str]:
    """Yield lines of a table: the scores to read first, each beside permuted leaves."""
    found = {name: label for name, label in labels(*LEADING).items() if name in scores.scores}
    length = max(map(len, found.values()))
    yield f"{'':<{length}}  {'score':>8}  {'permuted leaves (95%)':>24}"
    for name, label in found.items():
        score, null = scores.scores[name], ""
        if PERMUTED in SCORES[name].nulls:
            middle, *ends = (
                scores.scores.get(f"{name}_null_{PERMUTED}{end}") for end in ("", "_low", "_high")
            )
            if middle is not None:
                null = f"{middle:8.3f} ({ends[0]:.3f} to {ends[1]:.3f})"
        shown = "–" if score is None else f"{score:.3f}" if isinstance(score, float) else f"{score}"
        yield f"{label:<{length}}  {shown:>8}  {null:>24}".rstrip()


def _of_imagenet(names: list[str], label_file: str | Path) -> list[str]:
    """Return the ids of ImageNet-1k's classes, by number; ids stay as they are."""
    wnid_of = read_wnid_map(IMAGENET_1K)
    known = {**wnid_of, **dict.fromkeys(wnid_of.values())}
    if unknown := sorted({name for name in names if name not in known}):
        raise ValueError(
            f"{label_file}: no class of ImageNet-1k: {', '.join(unknown[:5])}; give numbers 0 to "
            "999 or WordNet ids, or another --taxonomy"
        )
    return [wnid_of.get(name, name) for name in names]


def _taxonomy(classes: list[str], taxonomy: str, nltk_data: str | Path) -> Taxonomy:
    if not taxonomy.endswith(".parquet"):
        table = None if taxonomy in BY_WORDNET else taxonomy
        return taxonomy_of(classes, table, nltk_data)
    tree = Taxonomy.load(taxonomy)
    if different := sorted({*classes} ^ {*tree.leaves}):
        raise ValueError(
            f"{taxonomy}: the labels have other classes ({', '.join(different[:5])}); give a CSV "
            "table of parents, or wordnet, from which those of the labels are taken"
        )
    order = {leaf: number for number, leaf in enumerate(tree.leaves)}
    if [order[name] for name in classes] != [*range(len(classes))]:
        raise ValueError(f"{taxonomy}: its classes are not sorted; build it anew")
    return tree
