"""The sparse step of GPUs: on the processor, by torch's words and by Triton's interpreter.

There is no GPU where these tests run: graphs, streams and pinned memory are not tested here, and
the kernels as Python executes them, not as they are compiled.
"""

import importlib
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from cladescope.dictionaries import training
from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training import cost, expressions, gpu_step
from cladescope.dictionaries.training.batches import Batches, Block, InMemory
from cladescope.dictionaries.training.checkpoint import Checkpoint
from cladescope.dictionaries.training.expressions import Entries, Extra, Weights
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import SparseLearner, learner_on
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.plain_step import Autograd, TopK, aux_loss
from cladescope.dictionaries.training.schedule import Pace, adam_betas
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.training.stepwise import Stepwise
from cladescope.dictionaries.variants import batchtopk, matryoshka, topk
from cladescope.dictionaries.variants.batchtopk import BatchTopK
from cladescope.dictionaries.variants.matryoshka import Matryoshka

WIDTH, D, K, BATCH, STEPS = 96, 12, 4, 50, 40
# On a processor the product in TF32 is one in float32.
RECIPE = Recipe(STEPS * BATCH, BATCH, 1e-3, 0.1, 0.2, 0.3, 0.1, 1 / 32, "tf32")
KINDS = {"topk": TopK, "batchtopk": BatchTopK, "matryoshka": Matryoshka}
MODULES = {"topk": topk, "batchtopk": batchtopk, "matryoshka": matryoshka}
SPEC = FitSpec(WIDTH, K, 0, RECIPE)


@pytest.fixture(scope="module")
def kernels():
    """Triton's kernels as its interpreter runs them; Triton must be told before it is imported."""
    pytest.importorskip("triton")
    of_triton = {name: module for name, module in sys.modules.items() if _is_of_triton(name)}
    for name in of_triton:
        del sys.modules[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        yield importlib.import_module("cladescope.dictionaries.training.gpu_kernels")
    for name in [name for name in sys.modules if _is_of_triton(name)]:
        del sys.modules[name]
    sys.modules.update(of_triton)
    # The package keeps what was imported from it last.
    vars(training).pop("gpu_kernels")


def _is_of_triton(name):
    # What is compiled can be imported once only, and knows nothing of the interpreter.
    python = name.partition(".")[0] == "triton" and not name.startswith("triton._C")
    return python or name.endswith(".gpu_kernels")


@pytest.fixture(scope="module")
def rows():
    """Rows of low rank and some noise, as activations are."""
    rng = np.random.default_rng(0)
    inner = np.maximum(rng.standard_normal((400, 30)) - 1, 0) @ rng.standard_normal((30, D))
    return (inner + 0.05 * rng.standard_normal((400, D))).astype(np.float32)


def begin(kind, rows, spec=SPEC, steps=STEPS):
    return learner_on(torch.device("cpu"), kind, Beginning.of(rows), spec, steps)


def spread(learner, seed=1):
    """Parameters as in the middle of a run: biases apart, encoder and decoder apart."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in (*learner.weights, learner.bias):
        tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    learner.weights.decoder.div_(learner.weights.decoder.norm(dim=1, keepdim=True))
    return learner


def silence(learner, latents):
    """Let some latents have been silent for long."""
    state = learner.state()
    state["silent"][latents] = 10**6
    learner.restore(state)


def dense_gradients(kind, learner, x, dead, coefficient):
    """Loss, AuxK's and gradients by torch's differentiation of the dense loss, in float64."""
    weights = {name: tensor.numpy() for name, tensor in learner.weights._asdict().items()}
    start = replace(learner.start, **weights, decoder_bias=learner.bias.numpy())
    sae = kind(start, K).double()
    pre = sae.pre_activations(x.double())
    z = sae.activate(pre)
    loss, residual = sae.loss(x.double(), z), (x.double() - sae.decode(z)).detach()
    aux = torch.zeros(())
    if dead.any() and coefficient:
        aux = aux_loss(sae, residual, pre, dead)
    (loss + coefficient * aux).backward()
    gradients = {name: parameter.grad for name, parameter in sae.named_parameters()}
    decoder = sae.decoder.detach()
    along = (gradients["decoder"] * decoder).sum(1, keepdim=True)
    gradients["decoder"] = gradients["decoder"] - along * decoder
    return loss.item(), aux.item(), gradients


@pytest.mark.parametrize("n_dead", [0, 3, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_dense_loss(kind, n_dead, rows):
    recipe = replace(RECIPE, aux_coefficient=0.5)
    learner = spread(begin(KINDS[kind], rows, replace(SPEC, recipe=recipe)))
    silence(learner, np.random.default_rng(0).permutation(WIDTH)[:n_dead])
    dead = learner.silent > 0
    x = torch.from_numpy(learner.start.normalise(rows[:BATCH]))
    loss, aux, gradients = dense_gradients(KINDS[kind], learner, x, dead, 0.5)
    _, stretch = learner.take(Batches(Block(rows[:BATCH]), BATCH, 0, 0), range(1), 0)
    assert stretch.steps == 1
    assert stretch.dead_share == pytest.approx(n_dead / WIDTH)
    assert stretch.total.losses == pytest.approx({"loss": loss, "aux_loss": aux}, rel=1e-5)
    norm = sum(float(gradient.square().sum()) for gradient in gradients.values()) ** 0.5
    assert stretch.total.gradient_norm == pytest.approx(norm, rel=1e-4)
    # After the first step from zero Adam's mean is this share of the gradient.
    share = 1 - adam_betas(STEPS)[0]
    means = {**learner.means._asdict(), "decoder_bias": learner.bias_moments[0]}
    for name, gradient in gradients.items():
        tolerance = 1e-5 * float(gradient.abs().max())
        assert means[name].numpy() / share == pytest.approx(gradient.numpy(), 1e-3, tolerance), name
    firing = stretch.total.firing
    assert 0 < firing.sum() <= K * BATCH
    assert np.array_equal(learner.silent.numpy() == 0, firing > 0)


@pytest.mark.parametrize("variant", KINDS)
def test_a_run_is_that_of_the_plain_implementation(variant, rows, monkeypatch):
    fits = {}
    for way in ("sparse", "plain"):

        def start(some, spec, steps, threads, way=way):
            if way == "sparse":
                return begin(KINDS[variant], some.rows, spec, steps)
            plain = Autograd.begin(KINDS[variant], some, spec, steps)
            return Stepwise(plain, Pace.of(spec, steps))

        monkeypatch.setattr(MODULES[variant], "train", partial(fit_trained, start))
        fits[way] = fit_dictionary(variant, InMemory(rows), SPEC)
    mine, other = fits["sparse"], fits["plain"]
    assert mine.log.keys() == other.log.keys()
    for name in ("step", "images", "learning_rate"):
        assert mine.log[name] == pytest.approx(other.log[name]), name
    for name in ("fve", "l0", "loss", "aux_loss", "gradient_norm", "dead_share"):
        assert mine.log[name] == pytest.approx(other.log[name], rel=1e-2, abs=1e-2), name
    assert mine.log["dead_share"].max() > 0
    for name in ("encoder", "decoder", "encoder_bias", "decoder_bias"):
        one, two = (getattr(fit.dictionary, name) for fit in (mine, other))
        # Where a gradient is rounding noise, Adam's step has an arbitrary sign.
        assert (np.abs(one - two) > 1e-4).mean() < 0.02, name
    assert mine.dictionary.k == other.dictionary.k
    if variant != "topk":
        assert mine.dictionary.threshold == pytest.approx(other.dictionary.threshold, rel=1e-3)


@pytest.mark.parametrize("variant", KINDS)
def test_an_interrupted_run_ends_with_the_same_bits(variant, rows, monkeypatch, tmp_path):
    monkeypatch.setattr(
        MODULES[variant],
        "train",
        partial(fit_trained, lambda some, spec, steps, _: begin(KINDS[variant], some.rows, spec)),
    )
    fits = []

    def train(checkpoint):
        MODULES[variant].train(
            InMemory(rows), [SPEC], lambda _, fit: fits.append(fit), 1, [checkpoint]
        )

    train(Checkpoint(tmp_path / "never", "key"))
    monkeypatch.setattr("cladescope.dictionaries.training.loop.CHECKPOINT_SECONDS", 0)
    take, calls = SparseLearner.take, []

    def fail(self, batches, some, step):
        calls.append(step)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return take(self, batches, some, step)

    monkeypatch.setattr(SparseLearner, "take", fail)
    checkpoint = Checkpoint(tmp_path / "state", "key")
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint)
    train(checkpoint)
    assert calls.count(11) == 2 and calls.count(0) == 1
    for name in ("encoder", "decoder", "encoder_bias", "decoder_bias"):
        one, two = (getattr(fit.dictionary, name) for fit in fits)
        assert np.array_equal(one, two), name
    assert all(np.array_equal(fits[0].log[name], fits[1].log[name]) for name in fits[0].log)


@pytest.mark.parametrize("stretch", [8, 2])
def test_the_capacity_is_never_exceeded(stretch, rows):
    """Dead latents are as many as a stretch was prepared for, or fewer, at each of its steps."""
    learner = begin(TopK, rows)
    seen = []
    step = learner._step

    def watched(capacity):
        dead = int((learner.silent >= learner.pace.after(RECIPE.dead_share)).sum())
        seen.append((dead, capacity))
        step(capacity)

    learner._step = watched
    batches = Batches(Block(rows), BATCH, 0, 0)
    for first in range(0, STEPS, stretch):
        list(learner.take(batches, range(first % 8, first % 8 + stretch), first))
    assert len(seen) == STEPS
    assert max(dead for dead, _ in seen) > 0
    assert all(dead <= capacity for dead, capacity in seen)
    assert any(dead < capacity for dead, capacity in seen)


def test_half_precision_decides_few_latents_otherwise(rows):
    wide = spread(begin(TopK, rows))
    x = torch.from_numpy(wide.start.normalise(rows))
    wide._limits = WIDTH * torch.arange(len(x)).unsqueeze(1)
    exact = wide._select(x)
    wide.selection = torch.bfloat16
    rough = wide._select(x)
    assert len(exact.latent) == len(rough.latent) == K * len(rows)
    sets = [{*zip(e.row.tolist(), e.latent.tolist(), strict=True)} for e in (exact, rough)]
    assert len(sets[0] - sets[1]) < 0.01 * len(sets[0])


def keys(seed, shape, kind, precision):
    """Pre-activations with ties, as bfloat16 has many, and zeros of either sign."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    if kind == "ties":
        values = values.mul(2).round() * values.sign()[:, :1]
    elif kind == "constant":
        values = torch.zeros(shape)
    elif kind == "huge":
        values = values * 1e38
    elif kind == "uneven":
        values = values * torch.arange(shape[0])[:, None]
    return values.to(precision)


PRECISIONS = (torch.bfloat16, torch.float32)
KEYS = ("normal", "ties", "constant", "huge", "uneven")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(("shape", "k"), [((3, 33), 1), ((2, 64), 64), ((3, 150), 17), ((1, 1), 1)])
def test_kernels_select_rows(kernels, monkeypatch, precision, kind, shape, k):
    monkeypatch.setattr(kernels, "CHUNK", 64)
    pre = keys(shape[1] + k, shape, kind, precision)
    found = kernels.select_rows(pre, k)
    assert torch.equal(found, expressions.select_rows(pre, k))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    ("shape", "n"), [((3, 33), 7), ((2, 64), 128), ((3, 150), 51), ((9, 5), 1)]
)
def test_kernels_select_of_a_batch(kernels, monkeypatch, precision, kind, shape, n):
    monkeypatch.setattr(kernels, "CHUNK", 64)
    pre = keys(n, shape, kind, precision)
    found = kernels.select_batch(pre, n)
    assert torch.equal(found, expressions.select_batch(pre, n))


def step_of(seed, rows, width, d, k, parts):
    """Arguments of a step's kernels: uneven rows, one without entries, latents that never fire."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    ends = torch.linspace(width / parts, width, parts).round().long()
    pre = draw(rows, width)
    pre[:, ::3] -= 9
    pre[rows // 2] -= 99
    places = expressions.select_batch(pre, min(k * rows, (rows - 1) * width))
    limits = torch.cat([ends.new_zeros(1), ends[:-1]]) + width * torch.arange(rows)[:, None]
    bounds = torch.searchsorted(places, limits.flatten())
    bounds = torch.cat([bounds, bounds.new_full((1,), len(places))])
    latent = (places % width).int()
    ordered = latent.sort(stable=True)
    starts = torch.searchsorted(ordered.values, torch.arange(width + 1, dtype=torch.int32))
    entries = Entries((places // width).int(), latent, bounds, ordered.indices, starts)
    weights = Weights(draw(width, d), draw(width, d), draw(width))
    weights.decoder.div_(weights.decoder.norm(dim=1, keepdim=True))
    return (
        draw(rows, d),
        weights,
        entries,
        torch.searchsorted(ends, torch.arange(width), right=True).int(),
    )


SHAPES = [(6, 40, 12, 3, 1), (6, 37, 16, 1, 1), (5, 33, 7, 4, 3), (2, 3, 1, 2, 2)]


@pytest.mark.parametrize(("rows", "width", "d", "k", "parts"), SHAPES)
def test_kernels_decode_as_torch_does(kernels, rows, width, d, k, parts):
    centred, weights, entries, _ = step_of(1, rows, width, d, k, parts)
    mine = kernels.decode(centred, weights, entries, 0.3, parts)
    plain = expressions.decode(centred, weights, entries, 0.3, parts)
    exact = expressions.decode(
        centred.double(), Weights(*(w.double() for w in weights)), entries, 0.3, parts
    )
    assert (mine[0] > 0).any() and (len(mine[0]) == 1 or (mine[0] == 0).any())
    for one, two, three in zip(mine, plain, exact, strict=True):
        assert one.shape == two.shape == three.shape
        assert one.numpy() == pytest.approx(three.numpy(), 1e-4, 1e-5)
        assert two.numpy() == pytest.approx(three.numpy(), 1e-4, 1e-5)


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize(("rows", "width", "d", "k", "parts"), SHAPES)
def test_kernels_update_as_torch_does(kernels, rows, width, d, k, parts, extra):
    centred, weights, entries, part_of = step_of(2, rows, width, d, k, parts)
    values, slopes, _, pull = expressions.decode(centred, weights, entries, 0.3, parts)
    generator = torch.Generator().manual_seed(3)
    position = torch.full((width,), -1, dtype=torch.int32)
    some = max(1, width // 4)
    if extra:
        position[torch.randperm(width, generator=generator)[:some]] = torch.arange(
            some, dtype=torch.int32
        )
    up, down = torch.randn(2, some, d, generator=generator)
    others = Extra(position, up, down, torch.randn(some, generator=generator))
    adam = torch.tensor([1e-2, 0.9, 0.999, 1 / (1 - 0.999**3), 1e-8])
    moments = [Weights(*(0.1 * torch.rand(w.shape, generator=generator) for w in weights))] * 2
    after = []
    for operations, precision in (
        (kernels, torch.float32),
        (expressions, torch.float32),
        (expressions, torch.float64),
    ):
        w, m, v = (
            Weights(*(tensor.to(precision, copy=True) for tensor in kind))
            for kind in (weights, *moments)
        )
        squared, through, firing = operations.update(
            *(tensor.to(precision) for tensor in (centred, pull)),
            entries,
            *(tensor.to(precision) for tensor in (values, slopes)),
            Extra(position, *(tensor.to(precision) for tensor in others[1:])),
            part_of,
            w,
            m,
            v,
            adam.to(precision),
        )
        after.append([*w, *m, *v, squared.sum(), through.sum(0), firing])
    for mine, plain, exact in zip(*after, strict=True):
        assert mine.numpy() == pytest.approx(exact.numpy(), 1e-4, 1e-5)
        assert plain.numpy() == pytest.approx(exact.numpy(), 1e-4, 1e-5)
    assert 0 in after[0][-1]


@pytest.mark.parametrize("selection", [None, "tf32"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_by_the_kernels_is_one_by_torch(kernels, kind, selection, rows):
    ends = []
    spec = replace(SPEC, recipe=replace(RECIPE, batch_size=9, gpu_selection=selection))
    for operations in (kernels, expressions):
        learner = spread(begin(KINDS[kind], rows, spec))
        silence(learner, slice(30))
        learner._operations = operations
        _, stretch = learner.take(Batches(Block(rows), 9, 0, 0), range(2), 0)
        ends.append((stretch, learner.state()))
    (one, mine), (two, other) = ends
    assert one.total.losses == pytest.approx(two.total.losses, rel=1e-4)
    assert np.array_equal(one.total.firing, two.total.firing)
    for name in mine:
        assert (np.abs(mine[name] - other[name]) > 1e-4).mean() < 0.01, name


def test_a_width_beyond_the_device_is_refused(rows, monkeypatch):
    """A mock: a device of so many bytes."""
    monkeypatch.setattr(gpu_step, "torch_device", lambda: torch.device("cuda"))
    need = cost.dictionary_memory(WIDTH, D) + cost.LANES * cost.step_memory(WIDTH, D, BATCH)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, need - 1))
    monkeypatch.setattr(gpu_step, "free_memory", lambda device: 0)
    with pytest.raises(
        ValueError, match=f"{WIDTH} latents over {D} dimensions.*batch_size {BATCH}"
    ):
        gpu_step.begin_on_device(TopK, Beginning.of(rows), SPEC, STEPS)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 2 * need))
    monkeypatch.setattr(gpu_step, "free_memory", lambda device: need - 1)
    with pytest.raises(ValueError, match="lower sweep"):
        gpu_step.begin_on_device(TopK, Beginning.of(rows), SPEC, STEPS)
    card = 80e9
    width = cost.widest(card, 1536, 4096)
    needs = [
        cost.dictionary_memory(w, 1536) + cost.step_memory(w, 1536, 4096)
        for w in (width, width + 1000)
    ]
    assert needs[0] <= card < needs[1]


def test_costs_are_those_of_a_small_step_counted_by_hand():
    counted = {part.part: part for part in cost.sparse_step(d=10, width=100, k=2, batch=8)}
    assert counted["product"].operations == 2 * 8 * 10 * 100
    # Sixteen chosen latents: a row of ten float32 each.
    assert counted["values"].bytes == counted["gradient of values"].bytes == 16 * 40
    assert counted["gradient of weights"].bytes == 2 * 16 * 40
    # Encoder and decoder, each with two moments, read and written.
    assert counted["Adam"].bytes == 2 * 3 * (2 * 100 * 10 * 4)
    assert sum(part.in_bfloat16 for part in counted.values()) == 1


def test_costs_of_the_papers_step_are_those_of_the_documents():
    """At rates that a product and the memory of an H100 reach: docs/performance.md."""
    card = cost.Card(700 / cost.ATTAINED, 60 / cost.ATTAINED, 3.35 / cost.ATTAINED, 80)
    parts = {part.part: part.seconds(card) for part in cost.sparse_step(1536, 16384, 32, 4096)}
    assert parts["product"] == pytest.approx(0.295e-3, rel=0.01)
    assert parts["Adam"] == pytest.approx(0.36e-3, rel=0.01)
    assert sum(parts.values()) == pytest.approx(2.0e-3, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_counted_memory_is_what_a_learner_holds(kind, rows):
    learner = begin(KINDS[kind], rows)
    held = (tensor.nbytes for name, tensor in learner._tensors().items() if "bias" not in name)
    assert cost.dictionary_memory(WIDTH, D) == sum(held)
