"""The TopK step: compiled loops against float64 arithmetic, and against torch's gradients."""

import logging
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from cladescope import machines
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training import gpu_step
from cladescope.dictionaries.training import processor_kernels as kernels
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import SparseLearner
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.optimiser import Adam
from cladescope.dictionaries.training.plain_step import Autograd, TopK, aux_loss
from cladescope.dictionaries.training.processor_step import PARAMETERS, SparseTopK
from cladescope.dictionaries.training.schedule import ADAM_BETAS, Pace
from cladescope.dictionaries.training.screening import Screen
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.training.stepwise import Stepwise
from cladescope.dictionaries.variants import topk

WIDTH, D, K, BATCH = 300, 24, 5, 1100


def dictionary(width=WIDTH, d=D, k=K, seed=3):
    rng = np.random.default_rng(seed)
    decoder = rng.standard_normal((width, d))
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    return Dictionary(
        encoder=(0.3 * decoder + 0.05 * rng.standard_normal((width, d))).astype(np.float32),
        encoder_bias=(0.1 * rng.standard_normal(width)).astype(np.float32),
        decoder=decoder.astype(np.float32),
        decoder_bias=(0.1 * rng.standard_normal(d)).astype(np.float32),
        mean=np.zeros(d, np.float32),
        scale=1.0,
        k=k,
    )


@pytest.fixture
def x():
    return np.random.default_rng(4).standard_normal((BATCH, D), dtype=np.float32)


@pytest.fixture
def dead():
    return np.isin(np.arange(WIDTH), np.random.default_rng(5).choice(WIDTH, 40, replace=False))


WAYS = {
    "dense": lambda: None,
    "screened": lambda: Screen(WIDTH, D),
}
"""What finds the latents that fire."""


def learner(coefficient, way, threads=1):
    return SparseTopK(dictionary(), coefficient, ADAM_BETAS, threads, WAYS[way]())


def dense_gradients(start, x, dead, coefficient):
    """Gradients of the loss, by torch in float64."""
    sae = TopK(start, K).double()
    target = torch.from_numpy(x).double()
    pre = sae.pre_activations(target)
    z = sae.activate(pre)
    loss = sae.loss(target, z)
    residual = (target - sae.decode(z)).detach()
    aux = aux_loss(sae, residual, pre, torch.from_numpy(dead))
    (loss + coefficient * aux).backward()
    gradients = {name: getattr(sae, name).grad.numpy() for name in PARAMETERS}
    decoder = start.decoder.astype(float)
    along = (gradients["decoder"] * decoder).sum(1, keepdims=True)
    gradients["decoder"] = gradients["decoder"] - along * decoder
    return loss.item(), aux.item(), gradients


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("coefficient", [0.0, 0.5])
def test_gradients_are_those_of_the_dense_loss(x, dead, coefficient, way):
    start = dictionary()
    subject = learner(coefficient, way)
    report = subject.step(x, 1e-3, dead)
    loss, aux, expected = dense_gradients(start, x, dead, coefficient)
    assert report.losses["loss"] == pytest.approx(loss, rel=1e-5)
    assert report.losses["aux_loss"] == pytest.approx(aux if coefficient else 0, rel=1e-5)
    norm = np.sqrt(sum(np.square(gradient).sum() for gradient in expected.values()))
    assert report.gradient_norm == pytest.approx(norm, rel=1e-4)
    for name, gradient in expected.items():
        # After the first step from zero, Adam's mean is this share of the gradient.
        assert subject.means[name] / (1 - ADAM_BETAS[0]) == pytest.approx(
            gradient, rel=1e-3, abs=1e-5 * np.abs(gradient).max()
        ), name


@pytest.mark.parametrize("way", WAYS)
def test_aux_gradient_reaches_dead_latents_only(x, dead, way):
    with_aux, without = (learner(coefficient, way) for coefficient in (0.5, 0.0))
    for subject in (with_aux, without):
        subject.step(x, 1e-3, dead)
    for name in ("encoder", "decoder", "encoder_bias"):
        change = with_aux.means[name] - without.means[name]
        assert np.abs(change[dead]).sum() > 0
        assert not change[~dead].any()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("coefficient", [0.0, 0.5])
def test_steps_follow_the_plain_implementation(x, dead, coefficient, way):
    fast = learner(coefficient, way)
    plain = Autograd(TopK(dictionary(), K), dictionary(), coefficient, 0, ADAM_BETAS)
    for _ in range(5):
        one, two = (subject.step(x, 1e-3, dead) for subject in (fast, plain))
        assert one.losses == pytest.approx(two.losses, rel=1e-4)
        assert np.abs(one.firing - two.firing).sum() <= 1e-3 * BATCH * K
    slow = plain.state()
    for name in PARAMETERS:
        # Where a gradient is rounding noise, Adam's step has an arbitrary sign.
        far = np.abs(fast.parameters[name] - slow[name]) > 1e-4
        assert far.mean() < 2e-3, name


@pytest.mark.parametrize("way", WAYS)
def test_threads_change_no_bit(x, dead, way):
    one, three = (learner(0.5, way, threads) for threads in (1, 3))
    for _ in range(3):
        assert one.step(x, 1e-3, dead).losses == three.step(x, 1e-3, dead).losses
    for name, value in one.state().items():
        assert np.array_equal(value, three.state()[name]), name


@pytest.mark.parametrize(("width", "k"), [(20, 1), (33, 5), (64, 64), (100, 32), (4100, 32)])
@pytest.mark.parametrize("kind", ["distinct", "ties", "few positive", "none positive"])
def test_selection_is_a_stable_sort(width, k, kind):
    rng = np.random.default_rng(0)
    pre = rng.standard_normal((40, width), dtype=np.float32)
    if kind == "ties":
        pre = np.round(2 * pre)
    elif kind == "few positive":
        pre -= 2.5
    elif kind == "none positive":
        pre = -np.abs(pre) - 8
    # Sums of halves are exact, so that ties stay ties.
    bias = np.round(2 * rng.standard_normal(width)).astype(np.float32) / 2
    latents, values = np.empty((40, k), np.int32), np.empty((40, k), np.float32)
    kernels.select_largest(pre, bias, k, latents, values)
    pre += bias
    for row in range(40):
        best = np.argsort(-pre[row], kind="stable")[:k]
        best = np.sort(best[pre[row, best] > 0])
        fires = values[row] > 0
        assert not values[row, len(best) :].any(), "empty places hold 0 and come last"
        assert latents[row, fires].tolist() == best.tolist()
        assert np.array_equal(values[row, fires], pre[row, best])


@pytest.mark.parametrize("way", WAYS)
def test_a_restored_state_continues_with_the_same_bits(x, dead, way):
    one, two = (learner(0.5, way) for _ in range(2))
    one.step(x, 1e-3, dead)
    two.restore({name: value.copy() for name, value in one.state().items()})
    for subject in (one, two):
        subject.step(x[::-1].copy(), 1e-3, dead)
    for name, value in one.state().items():
        assert np.array_equal(value, two.state()[name]), name


def shifted(value):
    """The same array, four bytes past a cache line."""
    memory = np.empty(value.nbytes + 128, np.uint8)
    first = -memory.ctypes.data % 64 + 4
    copy = memory[first : first + value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy


def test_decoder_rows_keep_unit_norm(x, dead):
    subject = learner(0.5, "dense")
    for _ in range(20):
        subject.step(x, 1e-2, dead)
    norms = np.linalg.norm(subject.parameters["decoder"], axis=1)
    assert norms == pytest.approx(np.ones(WIDTH), abs=1e-5)


def test_aux_loss_is_what_the_paper_writes():
    subject = TopK(dictionary(12, 8, 2), 2)
    x = torch.from_numpy(np.random.default_rng(4).standard_normal((10, 8)).astype(np.float32))
    dead = torch.zeros(12, dtype=torch.bool)
    dead[[1, 4, 5, 7, 9]] = True
    residual = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    pre = subject.pre_activations(x)
    # k_aux is the power of two at d / 2 = 4: the four largest of the five dead ones.
    error, centred = 0.0, 0.0
    for row, target in zip(pre.detach().double(), residual.double(), strict=True):
        chosen = sorted(dead.nonzero()[:, 0].tolist(), key=lambda j: -row[j])[:4]
        guess = sum(max(row[j], 0) * subject.decoder[j].detach().double() for j in chosen)
        error += (target - guess).square().sum()
        centred += (target - residual.double().mean(0)).square().sum()
    assert aux_loss(subject, residual, pre, dead).item() == pytest.approx(
        (error / centred).item(), rel=1e-5
    )


def test_adam_equals_the_one_of_torch():
    generator = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(4, 3, generator=generator))]
    theirs = [torch.nn.Parameter(ours[0].detach().clone())]
    mine, reference = Adam(ours, (0.9, 0.999)), torch.optim.Adam(theirs, betas=(0.9, 0.999))
    for step in range(20):
        gradient = torch.randn(4, 3, generator=generator) * 10 ** (step % 3)
        ours[0].grad, theirs[0].grad = gradient.clone(), gradient.clone()
        reference.param_groups[0]["lr"] = 0.01 * (step + 1)
        mine.step(0.01 * (step + 1))
        reference.step()
    assert torch.allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("variant", "sparsity", "absent"), [("topk", 2, "torch"), ("relu", 0.5, "torch._dynamo")]
)
def test_training_imports_only_what_it_needs(root, variant, sparsity, absent):
    """Imports take longer than training a small dictionary: torch's compiler takes five seconds."""
    code = (
        "import sys, numpy as np; from cladescope.dictionaries.train import fit_dictionary;"
        "from cladescope.dictionaries.training.spec import FitSpec, Recipe;"
        "from cladescope.dictionaries.training.batches import InMemory;"
        "x = InMemory(np.random.default_rng(0).standard_normal((64, 8)));"
        f"spec = FitSpec(16, {sparsity}, 0, Recipe(64, 32, 1e-4, 0, 0, 0, 0, 0.1));"
        f"fit_dictionary({variant!r}, x, spec);"
        f"assert {absent!r} not in sys.modules"
    )
    environment = {"PYTHONPATH": str(root / "workflow" / "lib")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_long_run_is_screened_where_there_is_amx(monkeypatch, tmp_path, caplog):
    rows = np.random.default_rng(2).standard_normal((400, 200), dtype=np.float32)
    recipe = Recipe(1200, 100, 1e-3, 0, 0, 0.2, 0.5, 1 / 32)

    def fit():
        caplog.clear()
        spec = FitSpec(300, 5, 0, recipe)
        dictionary = fit_dictionary("topk", InMemory(rows), spec).dictionary
        return dictionary, "screened" in caplog.text

    monkeypatch.setattr(machines, "DRIVERS", ())
    monkeypatch.setattr(machines, "_CPUINFO", tmp_path / "cpuinfo")
    machines._CPUINFO.write_text("flags : amx_bf16\n")
    caplog.set_level(logging.INFO)
    plain, said = fit()
    assert not said
    monkeypatch.setattr(topk, "LONG_WORK", 2 * 1200 * 200 * 300)
    screened, said = fit()
    assert said
    machines._CPUINFO.write_text("flags :\n")
    elsewhere, said = fit()
    assert not said
    for name in PARAMETERS:
        one, two = getattr(plain, name), getattr(screened, name)
        assert (np.abs(one - two) > 1e-4).mean() < 2e-3, name
        assert np.array_equal(one, getattr(elsewhere, name)), name


def test_torch_trains_where_it_has_a_gpu(monkeypatch, tmp_path):
    """A mock: there is no GPU here, so that what is sent to it stays on the processor."""
    driver = tmp_path / "driver"
    driver.touch()
    monkeypatch.setattr(machines, "DRIVERS", (driver,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows = np.random.default_rng(2).standard_normal((64, 8), dtype=np.float32)
    beginning, recipe = Beginning.of(rows), Recipe(64, 32, 1e-4, 0, 0, 0, 0, 0.1)
    spec = FitSpec(16, 2, 0, recipe)
    assert isinstance(topk.begin(beginning, spec, 2, 1).stepper, SparseTopK)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_step, "torch_device", lambda: torch.device("meta"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
    monkeypatch.setattr(gpu_step, "free_memory", lambda device: 10**9)
    assert isinstance(topk.begin(beginning, spec, 2, 1), SparseLearner)


def test_a_run_is_that_of_the_plain_implementation(x, monkeypatch):
    recipe = Recipe(5 * BATCH, BATCH, 1e-3, 0.2, 0.2, 0.1, 0.3, 1 / 32)
    source, spec = InMemory(x), FitSpec(WIDTH, K, 0, recipe)
    fast = fit_dictionary("topk", source, spec)
    monkeypatch.setattr(
        topk,
        "train",
        partial(
            fit_trained,
            lambda some, spec, steps, threads: Stepwise(
                Autograd.begin(TopK, some, spec, steps), Pace.of(spec, steps)
            ),
        ),
    )
    plain = fit_dictionary("topk", source, spec)
    for name in PARAMETERS:
        one, two = (getattr(fit.dictionary, name) for fit in (fast, plain))
        assert not np.array_equal(one, two), name
        assert (np.abs(one - two) > 1e-4).mean() < 2e-3, name
