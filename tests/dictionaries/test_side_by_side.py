"""Dictionaries that train on the same blocks: each as if alone, whatever the order of their turns.

Learners of GPUs run here on the processor, where they leave their turn to others as they do there.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cladescope.dictionaries.training import gpu_stretch, loop
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.checkpoint import Checkpoint
from cladescope.dictionaries.training.gpu_step import learner_on
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.loop import Run, train
from cladescope.dictionaries.training.plain_step import Autograd, TopK
from cladescope.dictionaries.training.schedule import Pace
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.training.stepwise import Stepwise
from cladescope.dictionaries.variants.jumprelu import JumpRelu
from cladescope.dictionaries.variants.matryoshka import Matryoshka
from cladescope.dictionaries.variants.relu import Relu

D, BATCH, PER_BLOCK, BLOCKS = 8, 20, 10, 4
STEPS = PER_BLOCK * BLOCKS
RECIPE = Recipe(STEPS * BATCH, BATCH, 1e-3, 0.1, 0.2, 0.3, 0.1, 1 / 32)
SPECS = {
    "topk": (TopK, FitSpec(32, 3, 0, RECIPE)),
    "wide": (TopK, FitSpec(48, 3, 0, RECIPE)),
    "relu": (Relu, FitSpec(32, 0.1, 1, RECIPE)),
    "diverging": (Relu, FitSpec(32, 0.1, 2, replace(RECIPE, learning_rate=1e30))),
    "jumprelu": (JumpRelu, FitSpec(32, 3, 3, RECIPE)),
    "matryoshka": (Matryoshka, FitSpec(32, 3, 4, RECIPE)),
    "processor": (None, FitSpec(32, 3, 5, RECIPE)),
}


@pytest.fixture(autouse=True)
def stretches_of_five_steps(monkeypatch):
    monkeypatch.setattr(loop, "LOGGED_STEPS", STEPS // 5)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((PER_BLOCK * BATCH, 20)) - 1, 0)
    return InMemory((x @ rng.standard_normal((20, D))).astype(np.float32))


def begin(name, source, checkpoint=None):
    kind, spec = SPECS[name]
    beginning = Beginning.of(next(source.blocks()))
    if kind is None:
        plain = Autograd.begin(TopK, beginning, spec, STEPS)
        learner = Stepwise(plain, Pace.of(spec, STEPS))
    else:
        learner = learner_on(torch.device("cpu"), kind, beginning, spec, STEPS)
    return Run(learner, source, spec, checkpoint)


def state_of(run):
    return {**run.learner.state(), **run.log()}


def together(names, source, checkpoints=None):
    """Train them; return the state of each that ended, and the failure."""
    runs = {name: begin(name, source, (checkpoints or {}).get(name)) for name in names}
    ended, failure = {}, None
    named = {run: name for name, run in runs.items()}
    try:
        train(list(runs.values()), source.blocks, lambda r: ended.update({named[r]: state_of(r)}))
    except FloatingPointError as error:
        failure = str(error)
    return ended, failure


def test_each_ends_with_the_bits_that_it_has_alone(source, monkeypatch, tmp_path):
    """Of several kinds and sizes; one diverges, one is resumed from the middle."""
    alone, failures = {}, {}
    for name in SPECS:
        ended, failures[name] = together([name], source)
        alone |= ended
    assert alone.keys() == SPECS.keys() - {"diverging"}
    checkpoint = Checkpoint(tmp_path / "state", "key")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0)
        interrupted = begin("jumprelu", source, checkpoint)
        through = Run.through

        def fail(run, block):
            if run.step >= 20:
                raise KeyboardInterrupt
            return through(run, block)

        patch.setattr(Run, "through", fail)
        with pytest.raises(KeyboardInterrupt):
            train([interrupted], source.blocks, lambda run: None)
    # "wide" works in more memory than what counts as small here.
    monkeypatch.setattr(gpu_stretch, "SMALL_STEP", begin("wide", source).learner._x.nbytes)
    assert begin("jumprelu", source, checkpoint).step == 20
    for small in (0, gpu_stretch.SMALL_STEP, 2**28):
        monkeypatch.setattr(gpu_stretch, "SMALL_STEP", small)
        given = Checkpoint(tmp_path / f"copy{small}", "key")
        given.path.write_bytes(checkpoint.path.read_bytes())
        ended, failure = together(SPECS, source, {"jumprelu": given})
        assert failure == failures["diverging"] and "diverged at step" in failure
        assert ended.keys() == alone.keys()
        for name, expected in alone.items():
            assert ended[name].keys() == expected.keys()
            for key, value in expected.items():
                assert np.array_equal(ended[name][key], value), (name, key)


class Watched:
    """A learner's launches and reports, and those of the others, in order."""

    def __init__(self, run, name, seen):
        take = run.learner.take

        def watched(batches, some, step):
            for stretch in take(batches, some, step):
                seen.append((name, "launched" if stretch is None else "reported"))
                yield stretch

        run.learner.take = watched


def turns(names, source):
    seen = []
    runs = [begin(name, source) for name in names]
    for run, name in zip(runs, names, strict=True):
        Watched(run, name, seen)
    train(runs, source.blocks, lambda run: None)
    return seen


def test_small_dictionaries_are_launched_before_the_first_is_asked(source):
    names = ("topk", "relu", "matryoshka")
    seen = turns(names, source)
    assert seen[:3] == [(name, "launched") for name in names]
    # Of each its next stretch is launched as soon as the last is reported: the device never idles.
    for number in range(3, 9, 2):
        assert [what for _, what in seen[number : number + 2]] == ["reported", "launched"]
        assert seen[number][0] == seen[number + 1][0] == names[(number - 3) // 2]
    for name in names:
        mine = [what for other, what in seen if other == name]
        assert mine == ["launched", "reported"] * (len(mine) // 2)


def test_large_dictionaries_and_those_of_a_processor_take_a_block_each(source, monkeypatch):
    monkeypatch.setattr(gpu_stretch, "SMALL_STEP", 0)
    names = ("topk", "processor", "relu")
    seen = turns(names, source)
    assert {what for _, what in seen} == {"reported"}
    in_order = [name for name, _ in seen]
    changes = [one for one, two in zip(in_order, [None, *in_order], strict=False) if one != two]
    assert changes == list(names) * BLOCKS
