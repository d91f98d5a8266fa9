import subprocess
import sys

import numpy as np
import pytest
import torch

from cladescope.encoding import encode
from cladescope.quality import measure_quality
from cladescope.variants import fit_dictionary
from cladescope.variants.adam import Adam
from cladescope.variants.base import FitSpec, Recipe
from cladescope.variants.topk import TopK, _batches, _schedule, _train, aux_loss

RECIPE = Recipe(
    images=40_000,
    batch_size=128,
    learning_rate=4e-4,
    warmup_share=0.05,
    decay_share=0.2,
    dead_share=0.05,
    aux_coefficient=1 / 32,
)


@pytest.fixture(scope="module")
def planted():
    """Sparse combinations of 24 known directions in 16 dimensions, off centre and off scale."""
    rng = np.random.default_rng(99)
    directions = rng.standard_normal((24, 16))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    z = (rng.random((3000, 24)) < 0.08) * rng.uniform(0.5, 1.5, (3000, 24))
    return (7 * (z @ directions) + 3).astype(np.float32), directions


@pytest.fixture(scope="module")
def trained(planted):
    return fit_dictionary("topk", planted[0], FitSpec(32, 3, 0, RECIPE))


def test_learns_what_initialisation_lacks(planted, trained):
    x, directions = planted
    quality = measure_quality(trained.dictionary, encode(trained.dictionary, x), x)
    start = fit_dictionary("untrained", x, FitSpec(32, 3, 0)).dictionary
    assert quality["fve"] > measure_quality(start, encode(start, x), x)["fve"] + 0.2
    assert quality["l0"] <= 3
    learned, untrained = (
        np.abs(directions @ d.decoder.T).max(1).mean() for d in (trained.dictionary, start)
    )
    assert learned > untrained + 0.15


def test_same_seed_same_bytes_other_seed_other_weights(planted, trained, tmp_path):
    again = fit_dictionary("topk", planted[0], FitSpec(32, 3, 0, RECIPE))
    for name, fit in (("a", trained), ("b", again)):
        fit.dictionary.save(tmp_path / f"{name}.safetensors", {})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert trained.log == again.log
    short = Recipe(**{**vars(RECIPE), "images": 1280})
    one, two = (
        fit_dictionary("topk", planted[0], FitSpec(32, 3, seed, short)).dictionary
        for seed in (0, 1)
    )
    assert not np.array_equal(one.decoder, two.decoder)


def test_decoder_rows_have_unit_norm(trained):
    norms = np.linalg.norm(trained.dictionary.decoder, axis=1)
    assert norms == pytest.approx(np.ones(32), abs=1e-5)


def test_log_covers_the_run(trained):
    assert trained.log["images"][-1] == RECIPE.images // 128 * 128
    assert trained.log["loss"][-1] < trained.log["loss"][0]
    assert len({len(column) for column in trained.log.values()}) == 1


def sae(k=2, width=12, d=8):
    draw = np.random.default_rng(3).standard_normal
    return TopK(
        *(draw(shape).astype(np.float32) for shape in ((width, d), width, (width, d), d)), k=k
    )


def test_aux_loss_is_what_the_paper_writes():
    subject = sae()
    x = torch.from_numpy(np.random.default_rng(4).standard_normal((10, 8)).astype(np.float32))
    dead = torch.zeros(12, dtype=torch.bool)
    dead[[1, 4, 5, 7, 9]] = True
    residual = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    pre = subject.pre_activations(x)
    # k_aux is the power of two below d / 2 = 4: the four largest of the five dead ones.
    error, centred = 0.0, 0.0
    for row, target in zip(pre.detach().double(), residual.double(), strict=True):
        chosen = sorted(dead.nonzero()[:, 0].tolist(), key=lambda j: -row[j])[:4]
        guess = sum(max(row[j], 0) * subject.decoder[j].detach().double() for j in chosen)
        error += (target - guess).square().sum()
        centred += (target - residual.double().mean(0)).square().sum()
    assert aux_loss(subject, residual, pre, dead).item() == pytest.approx(
        (error / centred).item(), rel=1e-5
    )


def test_aux_gradient_reaches_the_encoder_of_dead_latents_only():
    subject = sae()
    dead = torch.arange(12) >= 6
    x = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    aux_loss(subject, x, subject.pre_activations(x), dead).backward()
    assert subject.encoder.grad[dead].abs().sum() > 0
    assert subject.decoder.grad[dead].abs().sum() > 0
    assert subject.encoder.grad[~dead].abs().sum() == 0


def test_aux_loss_revives_dead_latents(planted):
    """At the start 6 of 32 latents outdo the others everywhere; 24 directions are to be found."""
    start = fit_dictionary("untrained", planted[0], FitSpec(32, 3, 0)).dictionary
    bias = np.where(np.arange(32) < 6, 1, 0).astype(np.float32)
    silent = {}
    for coefficient in (0.0, 1 / 32):
        subject = TopK(start.encoder, bias, start.decoder, start.decoder_bias, k=3)
        recipe = Recipe(**{**vars(RECIPE), "aux_coefficient": coefficient})
        log = _train(subject, torch.from_numpy(start.normalise(planted[0])), recipe, seed=0)
        silent[coefficient] = log["dead_share"][-1]
    assert silent[0.0] > 0.4
    assert silent[1 / 32] < 0.2


def test_projected_gradient_is_orthogonal_to_the_rows():
    subject = sae()
    subject.normalise_decoder()
    subject.decoder.grad = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    subject.project_gradient()
    assert (subject.decoder.grad * subject.decoder).sum(1).abs().max() < 1e-6


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


def test_training_does_without_the_compiler(root):
    """torch.optim imports torch._dynamo, which takes longer than training a small dictionary."""
    code = (
        "import sys, numpy as np; from cladescope.variants import fit_dictionary;"
        "from cladescope.variants.base import FitSpec, Recipe;"
        "x = np.random.default_rng(0).standard_normal((64, 8));"
        "fit_dictionary('topk', x, FitSpec(16, 2, 0, Recipe(64, 32, 1e-4, 0, 0, 0, 0.1)));"
        "assert 'torch' in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    environment = {"PYTHONPATH": str(root / "workflow" / "lib")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_batches_visit_every_image_once_per_pass():
    rows = torch.cat(list(_batches(10, 4, 5, seed=0)))
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_schedule_rises_holds_and_falls():
    rates = [_schedule(step, 100, RECIPE) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 5)
    assert rates[4:80] == [1.0] * 76
    assert rates[-1] == pytest.approx(1 / 20)


def test_divergence_names_step_and_rate(planted):
    with pytest.raises(FloatingPointError, match=r"diverged at step .* learning rate"):
        fit_dictionary("topk", planted[0] * np.float32(np.nan), FitSpec(32, 3, 0, RECIPE))
