"""The dense step of GPUs, on the processor: it is the plain step, and waits for nothing.

There is no GPU where these tests run: graphs and streams are not tested here.
"""

from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cladescope.dictionaries.training import cost, gpu_step, loop
from cladescope.dictionaries.training.batches import Batches, Block, InMemory
from cladescope.dictionaries.training.checkpoint import Checkpoint
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_dense import DenseLearner
from cladescope.dictionaries.training.gpu_step import SparseLearner, learner_on
from cladescope.dictionaries.training.gpu_stretch import Lane
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.plain_step import TopK
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.variants import variant_module
from cladescope.dictionaries.variants.tree import Tree
from cladescope.sweep import SPARSE, TRAINED

CPU = torch.device("cpu")
WIDTH, D, BATCH, STEPS = 64, 12, 50, 40
RECIPE = Recipe(STEPS * BATCH, BATCH, 1e-3, 0.3, 0.2, 0.3, 0.1, 0.5)
SPARSITY = {"relu": 0.3, "hsae": 8}
DENSE = sorted({*TRAINED} - {*SPARSE, "likeness"})
NO_LIFT = ("relu", "matching_pursuit")
DIES = ("archetypal", "soft_frozen", "tree")


def spec_of(variant, recipe=RECIPE):
    return FitSpec(WIDTH, SPARSITY.get(variant, 4), 0, recipe)


@pytest.fixture(scope="module")
def rows():
    """Rows of low rank and some noise, as activations are."""
    rng = np.random.default_rng(0)
    inner = np.maximum(rng.standard_normal((400, 30)) - 1, 0) @ rng.standard_normal((30, D))
    return (inner + 0.05 * rng.standard_normal((400, D))).astype(np.float32)


@pytest.fixture
def begin(monkeypatch):
    """Begin a variant as on a GPU, on the processor."""

    def learner(variant, beginning, spec, steps, threads=1):
        module = variant_module(variant)
        if variant == "topk":
            return learner_on(CPU, TopK, beginning, spec, steps)
        if isinstance(module.begin, partial):
            return learner_on(CPU, module.begin.args[0], beginning, spec, steps)
        monkeypatch.setattr(module, "begin_on_device", partial(learner_on, CPU))
        made = module.begin(beginning, spec, steps, threads)
        monkeypatch.undo()
        return made

    return learner


def silence(learner, latents):
    """Let some latents have been silent for long."""
    state = learner.state()
    state["silent"] = state["silent"].copy()
    state["silent"][latents] = 10**6
    learner.restore(state)


@pytest.mark.parametrize("dead", [0, 5, 40])
@pytest.mark.parametrize("variant", DENSE)
def test_steps_are_those_of_the_plain_step(variant, dead, rows, begin):
    """Losses, gradients (by Adam's moments), weights and lift, over a stretch with dead latents."""
    beginning, spec = Beginning.of(rows), spec_of(variant)
    mine = begin(variant, beginning, spec, STEPS)
    other = variant_module(variant).begin(beginning, spec, STEPS, 1)
    for learner in (mine, other):
        silence(learner, np.random.default_rng(0).permutation(WIDTH)[:dead])
    _, stretch = mine.take(Batches(Block(rows), BATCH, 0, 0), range(2), 7)
    other.stepper.adam.steps = 7
    reports = list(other.take(Batches(Block(rows), BATCH, 0, 0), range(2), 7))
    for name in {*stretch.total.losses, *reports[0].total.losses}:
        both = sum(report.total.losses[name] for report in reports)
        assert stretch.total.losses[name] == pytest.approx(both, rel=1e-5), name
    assert (stretch.total.losses["aux_loss"] > 0) == (dead > 0 and variant not in NO_LIFT)
    norm = sum(report.total.gradient_norm for report in reports)
    assert stretch.total.gradient_norm == pytest.approx(norm, rel=1e-5)
    assert stretch.dead_share == reports[1].dead_share
    assert stretch.worst == pytest.approx(max(report.worst for report in reports), rel=1e-5)
    assert np.array_equal(stretch.total.firing, sum(report.total.firing for report in reports))
    ends = mine.state(), other.state()
    assert ends[0].keys() == ends[1].keys() - {"steps"}
    assert np.array_equal(ends[0]["silent"], ends[1]["silent"])
    for name in ends[0].keys() - {"silent"}:
        one, two = (end[name] for end in ends)
        far = np.abs(one - two) > 1e-4 * np.abs(two).max() + 1e-9
        # Where a gradient is rounding noise, Adam's step has an arbitrary sign.
        assert far.mean() < 0.01, name


@pytest.mark.parametrize("variant", ["relu", "jumprelu", "archetypal", "soft_frozen", "tree"])
def test_a_run_is_that_of_the_plain_implementation(variant, rows, begin):
    fits = []
    for way in (partial(begin, variant), variant_module(variant).begin):
        fit_trained(way, InMemory(rows), [spec_of(variant)], lambda _, fit: fits.append(fit))
    mine, other = fits
    assert mine.log.keys() == other.log.keys()
    assert ("penalty_loss" in mine.log) == (variant in ("relu", "jumprelu"))
    for name in mine.log:
        assert mine.log[name] == pytest.approx(other.log[name], rel=1e-2, abs=1e-2), name
    assert (mine.log["dead_share"].max() > 0) == (variant in DIES), variant
    for name in ("encoder", "decoder", "encoder_bias", "decoder_bias"):
        one, two = (getattr(fit.dictionary, name) for fit in fits)
        assert (np.abs(one - two) > 1e-4).mean() < 0.02, name
    assert mine.dictionary.k == other.dictionary.k
    if variant == "jumprelu":
        assert mine.dictionary.threshold == pytest.approx(other.dictionary.threshold, rel=1e-3)


@pytest.mark.parametrize("variant", ["relu", "jumprelu", "archetypal", "soft_frozen"])
def test_an_interrupted_run_ends_with_the_same_bits(variant, rows, begin, monkeypatch, tmp_path):
    fits = []

    def train(checkpoint):
        way = partial(begin, variant)
        fit_trained(
            way,
            InMemory(rows),
            [spec_of(variant)],
            lambda _, fit: fits.append(fit),
            1,
            [checkpoint],
        )

    train(Checkpoint(tmp_path / "never", "key"))
    take, calls = DenseLearner.take, []

    def fail(self, batches, some, step):
        calls.append(step)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return take(self, batches, some, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0)
        patch.setattr(DenseLearner, "take", fail)
        checkpoint = Checkpoint(tmp_path / "state", "key")
        with pytest.raises(KeyboardInterrupt):
            train(checkpoint)
    train(checkpoint)
    for name in ("encoder", "decoder", "encoder_bias", "decoder_bias"):
        one, two = (getattr(fit.dictionary, name) for fit in fits)
        assert np.array_equal(one, two), name
    assert all(np.array_equal(fits[0].log[name], fits[1].log[name]) for name in fits[0].log)


class NeverWaits(TorchDispatchMode):
    """Fails on what makes the host wait for a device: its answers, or sizes that depend on them."""

    ANSWERS = ("_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero")
    ANSWERS += ("_unique2", "unique_consecutive", "bincount", "_to_copy", "masked_scatter")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        if name == "_to_copy" and torch.device(kwargs.get("device") or CPU) == CPU:
            # Another precision, on the same device.
            name = "to"
        masks = (torch.bool, torch.uint8)
        if name.startswith(("index", "_index_put")):
            flat = chain.from_iterable(
                a if isinstance(a, (list, tuple)) else [a] for a in args[1:2]
            )
            assert all(getattr(one, "dtype", None) not in masks for one in flat), f"{name} by mask"
        assert name not in self.ANSWERS, name
        return func(*args, **kwargs)


@pytest.mark.parametrize("capacity", [0, 16])
@pytest.mark.parametrize("variant", [*SPARSE, *DENSE])
def test_a_step_waits_for_nothing(variant, capacity, rows, begin):
    """As far as torch's operations show on a processor; a GPU is asked by benchmarks/gpu.py."""
    spec = spec_of(variant)
    learner = begin(variant, Beginning.of(rows), spec, STEPS)
    silence(learner, slice(9))
    list(learner.take(Batches(Block(rows), BATCH, 0, 0), range(1), 0))
    with NeverWaits():
        learner._step(capacity)


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
        lambda x: x.__setitem__(x > 0, torch.zeros(())),
    ],
)
def test_what_waits_is_noticed(asks):
    with pytest.raises(AssertionError), NeverWaits():
        asks(torch.randn(9))


class Graph:
    """A mock of torch's: what is recorded is not executed, what is replayed is."""

    made: ClassVar[list] = []
    recording = False

    def __init__(self):
        self.made.append(self)

    @contextmanager
    def record(self, pool, stream, capture_error_mode):
        Graph.recording = self
        yield
        Graph.recording = False

    def replay(self):
        self.step(self.capacity)


def test_a_step_is_recorded_once_for_each_capacity_and_then_replayed(rows, begin, monkeypatch):
    spec = spec_of("soft_frozen")
    plain, learner = (begin("soft_frozen", Beginning.of(rows), spec, STEPS) for _ in range(2))
    step, written = learner._step, []

    def watched(capacity):
        if Graph.recording:
            Graph.recording.step, Graph.recording.capacity = step, capacity
        else:
            written.append(capacity)
            step(capacity)

    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Graph.record)
    monkeypatch.setattr(torch.cuda, "Event", lambda: event)
    monkeypatch.setattr(learner, "_step", watched)
    monkeypatch.setattr(learner, "_in_lane", nullcontext)
    learner._lane, learner._graphs = Lane(None, None), {}
    capacities = [0, 0, 16, 0, 16]
    for number, capacity in enumerate(capacities):
        for one in (plain, learner):
            one._dead_soon = lambda steps, capacity=capacity: capacity
            silence(one, slice(9 if capacity else 0))
            list(one.take(Batches(Block(rows), BATCH, 0, 0), range(3), 3 * number))
    assert written == [0, 16]
    assert [graph.capacity for graph in Graph.made] == [0, 16]
    for name, value in plain.state().items():
        assert np.array_equal(value, learner.state()[name]), name


def test_nodes_of_trees_are_not_lifted(rows):
    start = Tree.begin(Beginning.of(rows), spec_of("tree"))
    sae = Tree(start, 4)
    sae.lift(torch.ones(WIDTH, dtype=torch.bool), 0.25)
    lifted = sae.encoder_bias.detach().numpy() - start.encoder_bias
    assert not lifted[: sae.nodes].any() and (lifted[sae.nodes :] > 0.2).all()


@pytest.mark.parametrize("variant", sorted({*TRAINED} - {"topk", "likeness"}))
def test_every_variant_has_a_learner_of_its_own_on_a_gpu(variant, rows, monkeypatch):
    """A mock: there is no GPU here, so that what is sent to it stays nowhere.

    That of `topk`, which `likeness` begins with, is in test_topk.py.
    """
    monkeypatch.setattr(gpu_step, "torch_device", lambda: torch.device("meta"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
    monkeypatch.setattr(gpu_step, "free_memory", lambda device: 10**9)
    begin, given = variant_module(variant).begin, (Beginning.of(rows), spec_of(variant), STEPS, 1)
    assert type(begin(*given)) is (DenseLearner if variant in DENSE else SparseLearner)
    counted = cost.dense_step_memory if variant in DENSE else cost.step_memory
    need = cost.dictionary_memory(WIDTH, D) + cost.LANES * counted(WIDTH, D, BATCH)
    monkeypatch.setattr(gpu_step, "free_memory", lambda device: need - 1)
    with pytest.raises(ValueError, match="lower sweep"):
        begin(*given)


def test_small_steps_share_memory_by_lane():
    small, large = 100, cost.SMALL_STEP + 1
    assert cost.shared_memory([small] * 3) == 300
    assert cost.shared_memory([small] * 99) == cost.LANES * 100
    assert cost.shared_memory([small, large, large + 5]) == small + large + 5
