"""What the outputs of changed images say of a node: the measures of docs/causes.md."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cladescope.causes.kinds import (
    ADDED,
    ADDED_DIRECTIONS,
    ADDING,
    CHOSEN,
    DIRECTIONS,
    MEASURES,
    TAKING,
)
from cladescope.causes.sets import NONE, counterparts, siblings
from cladescope.causes.trials import Questions, Trials
from cladescope.scores.passes import or_none
from cladescope.taxonomy.taxonomy import Taxonomy
from cladescope.taxonomy.tree import Tree

SCHEMA = pa.schema(
    [
        ("wnid", pa.string()),
        ("name", pa.string()),
        ("n_leaves", pa.int32()),
        ("n_latents", pa.int32()),
        ("kind", pa.string()),
        ("draw", pa.int32()),
        ("latents", pa.list_(pa.int32())),
        *((name, pa.float64()) for name in MEASURES),
    ]
)
_TINY = 1e-300


class Totals:
    """Sums over images of what each trial changes, taken in batch by batch.

    Parameters
    ----------
    labels
        Class of each image of the sample.
    permutations
        Of the classes, for trials of the kinds `REARRANGED`: a class takes the place of another.
    """

    def __init__(
        self,
        trials: Trials,
        questions: Questions,
        tree: Tree,
        labels: Int[np.ndarray, " sample"],
        permutations: Sequence[Int[np.ndarray, " classes"]],
    ):
        self.trials, self.questions, self.tree = trials, questions, tree
        n, n_classes = len(trials), len(tree.covers)
        self.places = (np.arange(n_classes), *permutations)
        """Where in the tree each class stands: as it does, then in each permutation."""
        self.labels = labels
        self.before = np.full((len(labels), n_classes), np.nan)
        """Probabilities of each image that nothing is done to."""
        self.drops = np.zeros((n, n_classes))
        """Sum over images, by the class's place, of what the image's own node loses."""
        self.fired = np.zeros((n, n_classes), np.int64)
        self.divergence = np.zeros(n)
        """Sum over images of the node of KL(P(· | node) ‖ P̃(· | node)), in nats."""
        self.lengths = np.zeros(n)
        """Sum over images of what is added, as a share of the length of the centred token."""
        self.rises, self.n_rises = np.zeros(n), np.zeros(n, np.int64)
        self._counterparts = counterparts(tree)
        self._steers = trials.is_kind(*ADDING)

    def accuracy(self) -> float | None:
        """Return the share of images whose class is the likeliest before anything is done."""
        return or_none(float((self.before.argmax(1) == self.labels).mean()))

    @cached_property
    def p_in(self) -> list[Float[np.ndarray, " internal"]]:
        """Mean probability of each internal node on its images, in each arrangement."""
        found = []
        for place in self.places:
            covers = self.tree.covers[place][:, self.tree.internal]
            mine = covers[self.labels]
            total = ((self.before @ covers) * mine).sum(0)
            size = mine.sum(0)
            found.append(np.divide(total, size, out=np.full(len(size), np.nan), where=size > 0))
        return found

    def counterpart_known(self, row: int) -> Bool[np.ndarray, " classes"]:
        """Say which classes have something to compare an internal node with."""
        return self._counterparts[row] != NONE

    def add(
        self,
        runs: Int[np.ndarray, " runs"],
        found: Float[Tensor, "runs classes"],
        lengths: Float[np.ndarray, " runs"],
    ) -> None:
        """Take in some runs, in their order: probabilities, and the length of what was added."""
        questions = self.questions
        undone = questions.set[runs] == 0
        self.before[questions.image[runs[undone]]] = found[torch.from_numpy(undone)].cpu().numpy()
        first, end = np.searchsorted(questions.run, [runs[0], runs[-1] + 1])
        asked = slice(first, end)
        trial, row = questions.trial[asked], questions.run[asked] - runs[0]
        image = questions.image[questions.run[asked]]
        np.add.at(self.lengths, trial, lengths[row])
        before = torch.from_numpy(self.before[questions.image[runs]]).to(found.device)
        for number, place in enumerate(self.places):
            kept = self.trials.draw[trial] == number
            if kept.any():
                parts = (trial[kept], row[kept], self.labels[image[kept]])
                self._add(parts, place, before, found)

    def _add(
        self,
        asked: tuple[np.ndarray, np.ndarray, np.ndarray],
        place: np.ndarray,
        before: Tensor,
        after: Tensor,
    ) -> None:
        """Take in the questions about one arrangement of the classes."""
        trial, row, label = asked
        covers = torch.from_numpy(self.tree.covers[place].astype(np.float64)).to(before.device)
        terms = before * (before.clamp(min=_TINY) / after.clamp(min=_TINY)).log()
        p, change, divergence = (
            (part @ covers).cpu().numpy() for part in (before, before - after, terms)
        )
        node, at = self.trials.node[trial], place[label]
        own = self.tree.internal[node]
        steers, counts = self._steers[trial], ~self._steers[trial]
        np.subtract.at(self.rises, trial[steers], change[row[steers], own[steers]])
        np.add.at(self.n_rises, trial[steers], 1)
        np.add.at(self.fired, (trial[counts], at[counts]), 1)
        other = self._counterparts[node, at]
        known = counts & (other != NONE)
        drop = change[row[known], other[known]]
        np.add.at(self.drops, (trial[known], at[known]), drop)
        inside = counts & (other == own)
        p_before = np.maximum(p[row[inside], own[inside]], _TINY)
        p_after = np.maximum(p_before - change[row[inside], own[inside]], _TINY)
        within = divergence[row[inside], own[inside]] / p_before - np.log(p_before / p_after)
        np.add.at(self.divergence, trial[inside], within)


def measure(totals: Totals, taxonomy: Taxonomy, named: Bool[np.ndarray, " classes"]) -> pa.Table:
    """Return one row for each node, number of latents, kind of trial that takes away, and draw.

    Nodes with fewer than two classes that are `named`, that have an output, are left out.
    """
    trials, tree = totals.trials, totals.tree
    node = tree.node[tree.internal]
    enough = tree.covers[named][:, tree.internal].sum(0) >= 2
    added = {ADDED: CHOSEN, ADDED_DIRECTIONS: DIRECTIONS}
    steered = {
        (added[(*TAKING, *ADDING)[trials.kind[t]]], trials.node[t], trials.size[t]): (
            totals.rises[t] / totals.n_rises[t] if totals.n_rises[t] else 0.0
        )
        for t in np.flatnonzero(trials.is_kind(*ADDING))
    }
    rows = []
    beside = siblings(tree)
    for t in np.flatnonzero(trials.is_kind(*TAKING)):
        if not enough[trials.node[t]]:
            continue
        kind = TAKING[trials.kind[t]]
        about = taxonomy_row(taxonomy, int(node[trials.node[t]]))
        of_node = (kind, trials.node[t], trials.size[t])
        latents = trials.sources[t] if kind != DIRECTIONS else trials.directions[t]
        rows.append(
            {
                **about,
                "n_leaves": int(tree.n_leaves[tree.internal[trials.node[t]]]),
                "n_latents": int(trials.size[t]),
                "kind": kind,
                "draw": int(trials.draw[t]) or None,
                "latents": latents[latents != NONE].tolist(),
                **_of_trial(totals, int(t), beside[trials.node[t]]),
                "steered": steered.get(of_node),
            }
        )
    return pa.Table.from_pylist(rows, SCHEMA)


def taxonomy_row(taxonomy: Taxonomy, node: int) -> dict[str, str]:
    """Return what a node is called."""
    return {"wnid": taxonomy.nodes[node], "name": taxonomy.names[node]}


def _of_trial(
    totals: Totals, trial: int, beside: Bool[np.ndarray, " classes"]
) -> dict[str, float | None]:
    """Return the measures of a trial that takes latents away."""
    arrangement = int(totals.trials.draw[trial])
    place, row = totals.places[arrangement], totals.trials.node[trial]
    node = totals.tree.internal[row]
    images = np.bincount(place[totals.labels], minlength=len(place))
    known = totals.counterpart_known(row)
    inside = totals.tree.covers[:, node]
    strata = {
        "delta_in": inside,
        "delta_siblings": beside & known,
        "delta_elsewhere": ~inside & ~beside & known,
    }
    drops, fired = totals.drops[trial], totals.fired[trial]
    found = {name: _ratio(drops[kept].sum(), images[kept].sum()) for name, kept in strata.items()}
    others = [found[name] for name in ("delta_siblings", "delta_elsewhere")]
    others = [value for value in others if not np.isnan(value)]
    found["selectivity"] = found["delta_in"] - max(others) if others else np.nan
    found["within"] = _ratio(totals.divergence[trial], images[inside].sum())
    found["evenness"] = evenness(drops[inside], images[inside])
    found["p_in"] = totals.p_in[arrangement][row]
    found["fires_in"] = _ratio(fired[inside].sum(), images[inside].sum())
    found["fires_outside"] = _ratio(fired[~inside].sum(), images[~inside].sum())
    found["removed"] = _ratio(totals.lengths[trial], fired.sum())
    return {name: or_none(value) for name, value in found.items()}


def evenness(drops: Float[np.ndarray, " classes"], images: Int[np.ndarray, " classes"]) -> float:
    """Return over how many of a node's classes its loss is spread, as a share of them.

    The effective number (inverse Simpson) of classes by their share of the mean losses, those below
    0 counting as 0. A latent for one class has 1 / number of classes; NaN where nothing is lost.

    Parameters
    ----------
    drops, images
        Sum of the losses over each class's images, and how many these are.
    """
    mean = np.maximum(drops[images > 0] / images[images > 0], 0)
    total = mean.sum()
    return float(total**2 / np.square(mean).sum() / len(mean)) if total > 0 else np.nan


def _ratio(total: float, count: float) -> float:
    return float(total) / float(count) if count else np.nan
