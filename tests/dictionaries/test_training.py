"""Training as every variant has it: what is learnt, order, schedule, log, interruption."""

import numpy as np
import pytest

from cladescope.activations.store import ActivationStore
from cladescope.codes.encode import ImageBlocks, encode
from cladescope.dictionaries.train import fit_dictionary, fit_together, open_source
from cladescope.dictionaries.training import schedule
from cladescope.dictionaries.training.batches import Batches, Block, InMemory, batches
from cladescope.dictionaries.training.checkpoint import load_checkpoint, save_checkpoint
from cladescope.dictionaries.training.initial import Beginning, initial_dictionary
from cladescope.dictionaries.training.schedule import ADAM_BETAS
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.variants.matryoshka import prefix_sizes
from stores import write

RECIPE = Recipe(
    images=40_000,
    batch_size=128,
    learning_rate=4e-3,
    warmup_share=0.05,
    decay_share=0.2,
    lift_share=0.005,
    dead_share=0.05,
    aux_coefficient=1 / 32,
)
SPARSITY = {
    "topk": 3,
    "batchtopk": 3,
    "matryoshka": 3,
    "relu": 0.3,
    "jumprelu": 3,
    "tree": 4,
    "matching_pursuit": 3,
    "hsae": 4,
    "archetypal": 3,
    "hierarchical_topk": 3,
    "ortsae": 3,
    "tied": 3,
    "aligned": 3,
}


@pytest.fixture(scope="module")
def planted():
    """Sparse combinations of 24 known directions in 16 dimensions, off centre and off scale."""
    rng = np.random.default_rng(99)
    directions = rng.standard_normal((24, 16))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    z = (rng.random((3000, 24)) < 0.08) * rng.uniform(0.5, 1.5, (3000, 24))
    return (7 * (z @ directions) + 3).astype(np.float32), directions


@pytest.fixture(scope="module")
def fits(planted):
    """A dictionary of every trained variant."""
    source = InMemory(planted[0])
    return {
        variant: fit_dictionary(variant, source, FitSpec(32, sparsity, 0, RECIPE))
        for variant, sparsity in SPARSITY.items()
    }


def quality_of(dictionary, x):
    return encode(dictionary, [x[:, None]], np.zeros(len(x), int))[1]


@pytest.mark.parametrize("variant", SPARSITY)
def test_learns_what_initialisation_lacks(planted, fits, variant):
    x, directions = planted
    learned = fits[variant].dictionary
    start = initial_dictionary(Beginning.of(x), FitSpec(32, 3, 0), k=3)
    assert quality_of(learned, x)["fve"] > quality_of(start, x)["fve"] + 0.1
    found, before = (np.abs(directions @ d.decoder.T).max(1).mean() for d in (learned, start))
    assert found > before + 0.02


@pytest.mark.parametrize(
    # JumpReLU trades its target against the error.
    ("variant", "margin"),
    [
        ("topk", 0.05),
        ("batchtopk", 0.05),
        ("matryoshka", 0.05),
        ("jumprelu", 0.2),
        ("matching_pursuit", 0.05),
    ],
)
def test_inference_is_as_sparse_as_asked(planted, fits, variant, margin):
    assert quality_of(fits[variant].dictionary, planted[0])["l0"] == pytest.approx(3, rel=margin)


def test_stronger_penalty_is_sparser(planted, fits):
    weak = fit_dictionary("relu", InMemory(planted[0]), FitSpec(32, 0.03, 0, RECIPE))
    assert (
        quality_of(weak.dictionary, planted[0])["l0"]
        > 1.3 * (quality_of(fits["relu"].dictionary, planted[0])["l0"])
    )


@pytest.mark.parametrize(
    "variant", ["topk", "jumprelu", "tree", "matching_pursuit", "hsae", "archetypal"]
)
def test_same_seed_same_bytes_other_seed_other_weights(planted, tmp_path, variant):
    short = Recipe(**{**vars(RECIPE), "images": 1280})
    source = InMemory(planted[0])
    one, same, other = (
        fit_dictionary(variant, source, FitSpec(32, 3, seed, short)) for seed in (0, 0, 1)
    )
    for name, fit in (("one", one), ("same", same), ("other", other)):
        fit.dictionary.save(tmp_path / f"{name}.safetensors", {})
    contents = {path.stem: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert contents["one"] == contents["same"] != contents["other"]
    assert all(np.array_equal(one.log[name], same.log[name]) for name in one.log)


def test_matryoshka_prefixes_reconstruct_better_than_those_of_batchtopk(planted, fits):
    x = planted[0]
    errors = {}
    for variant in ("matryoshka", "batchtopk"):
        dictionary = fits[variant].dictionary
        target = dictionary.normalise(x)
        z = dictionary.encode(target)
        z[:, prefix_sizes(32)[2] :] = 0
        errors[variant] = np.square(target - dictionary.decode(z)).mean()
    assert errors["matryoshka"] < errors["batchtopk"] - 0.02


def test_matryoshka_has_the_prefixes_it_is_told(planted, fits):
    """Of 32 latents: by default 2, 4, 8, 16 and 32; told 0.1 and 0.3, 3, 10 and all."""
    assert prefix_sizes(32) == [2, 4, 8, 16, 32]
    assert prefix_sizes(32, (0.1, 0.3)) == [3, 10, 32]
    assert prefix_sizes(3, (0.1, 0.9)) == [1, 3]
    source = InMemory(planted[0])
    default, told = (
        fit_dictionary("matryoshka", source, FitSpec(32, 3, 0, RECIPE, {"prefixes": prefixes}))
        for prefixes in ([0.5, 0.0625, 0.125, 0.25], [0.1])
    )
    for name in ("encoder", "decoder"):
        expected = getattr(fits["matryoshka"].dictionary, name)
        assert np.array_equal(getattr(default.dictionary, name), expected)
        assert not np.array_equal(getattr(told.dictionary, name), expected)
    errors = []
    for fit in (default, told):
        x = fit.dictionary.normalise(planted[0])
        z = fit.dictionary.encode(x)
        z[:, 3:] = 0
        errors.append(np.square(x - fit.dictionary.decode(z)).mean())
    assert errors[1] < errors[0]


def test_decoder_rows_have_unit_norm(fits):
    for fit in fits.values():
        norms = np.linalg.norm(fit.dictionary.decoder, axis=1)
        assert norms == pytest.approx(np.ones(32), abs=1e-5)


def test_log_covers_the_run(fits):
    for fit in fits.values():
        assert fit.log["images"][-1] == RECIPE.images // 128 * 128
        assert fit.log["fve"][-1] > fit.log["fve"][0]
        assert fit.log["l0"][-1] > 0
        assert len({len(column) for column in fit.log.values()}) == 1
    assert "penalty_loss" in fits["relu"].log
    assert "penalty_loss" not in fits["topk"].log


def test_batches_visit_every_row_once_per_epoch():
    x = np.arange(10)[:, None]
    rows = np.concatenate([batch[:, 0] for batch in batches(InMemory(x), 5, 0, 4)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert sorted(rows[:5]) != sorted(rows[10:15])


def test_batches_from_the_middle_are_those_of_the_whole():
    x = np.arange(23)[:, None]
    whole = list(batches(InMemory(x), 4, 1, 20))
    assert len(whole) == 20
    for first in (1, 5, 16):
        block, skip = divmod(first, 5)
        rest = Batches(Block(x), 4, 1, block)
        for number, batch in enumerate(whole[first : 5 * (block + 1)], skip):
            assert np.array_equal(rest[number], batch)


def test_patch_tokens_are_rows():
    source = InMemory(np.arange(24).reshape(3, 4, 2))
    assert (source.n_rows, source.d, source.tokens) == (12, 2, 4)
    recipe = Recipe(**{**vars(RECIPE), "images": 96, "batch_size": 8})
    assert schedule.n_steps(recipe, source.tokens) == 96 * 4 // 8


def test_streamed_blocks_hold_every_token_and_start_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr("cladescope.dictionaries.training.batches.BLOCK_ROWS", 30)
    x = np.arange(60 * 4 * 2, dtype=np.float32).reshape(60, 4, 2)
    source = open_source(write(tmp_path, x, 3), threads=2)
    assert (source.n_rows, source.d, source.tokens, source.rows_per_block) == (240, 2, 4, 30)
    whole = list(batches(source, 10, 1, 30))
    epoch = np.concatenate(whole[:24])
    assert sorted(epoch[:, 0]) == list(range(0, 480, 2))
    assert epoch[:, 0].tolist() != sorted(epoch[:, 0])
    for first in (1, 14, 29):
        block, skip = divmod(first, 3)
        rest = Batches(Block(next(source.blocks(block))), 10, 1, block)
        for number, batch in enumerate(whole[first : 3 * (block + 1)], skip):
            assert np.array_equal(rest[number], batch)


def test_seeds_shuffle_within_the_same_blocks(tmp_path, monkeypatch):
    """So that dictionaries of several seeds can train from one reading of a store."""
    monkeypatch.setattr("cladescope.dictionaries.training.batches.BLOCK_ROWS", 30)
    x = np.arange(60 * 4 * 2, dtype=np.float32).reshape(60, 4, 2)
    source = open_source(write(tmp_path, x, 3))
    one, two = (np.concatenate(list(batches(source, 10, seed, 3))) for seed in (0, 1))
    assert one.tolist() != two.tolist()
    assert sorted(one[:, 0]) == sorted(two[:, 0])


def test_calibration_has_no_shard_read_again(tmp_path, monkeypatch):
    """Shards that training read in part are checked as a whole once, not for each dictionary."""
    monkeypatch.setattr("cladescope.dictionaries.training.batches.BLOCK_ROWS", 60)
    x = np.random.default_rng(0).standard_normal((60, 4, 8)).astype(np.float32)
    source = open_source(write(tmp_path, x, 3))
    recipe = Recipe(**{**vars(RECIPE), "images": 20, "batch_size": 10})
    checked = []
    fault = ActivationStore.fault
    monkeypatch.setattr(
        ActivationStore, "fault", lambda store, shard: checked.append(shard) or fault(store, shard)
    )
    # Read ahead no further than what is asked for.
    monkeypatch.setattr("cladescope.activations.store.BLOCK_BYTES", 320)
    monkeypatch.setattr("cladescope.activations.store.WINDOW_BYTES", 640)
    specs = [FitSpec(16, 2, seed, recipe) for seed in (0, 1, 2)]
    assert len(fit_together("batchtopk", source, specs)) == 3
    assert checked and len(checked) == len(set(checked))


def test_patch_tokens_are_encoded_block_by_block(tmp_path, monkeypatch, fits):
    monkeypatch.setattr("cladescope.codes.encode.ROWS", 8)
    x = np.random.default_rng(0).standard_normal((30, 4, 16)).astype(np.float32)
    classes = np.arange(30) % 3
    store = ActivationStore.open(write(tmp_path, x, 3))
    dictionary = fits["topk"].dictionary
    codes, quality = encode(dictionary, ImageBlocks(store), classes)
    expected, whole = encode(dictionary, [x], classes)
    assert np.array_equal(codes.latent, expected.latent)
    assert quality == pytest.approx(whole, rel=1e-5)


def test_too_few_rows_for_a_batch_says_so():
    with pytest.raises(ValueError, match=r"training.batch_size: 8 exceeds the 5 rows"):
        next(batches(InMemory(np.ones((5, 2))), 8, 0, 1))


def test_schedule_rises_holds_and_falls():
    rates = [schedule.schedule(step, 100, RECIPE) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 5)
    assert rates[4:80] == [1.0] * 76
    assert rates[-1] == pytest.approx(1 / 20)


def test_aux_loss_revives_dead_latents(planted):
    """At the start 6 of 32 latents outdo the others everywhere; 24 directions are to be found."""
    from cladescope.dictionaries.training.loop import Run, train
    from cladescope.dictionaries.training.processor_step import SparseTopK
    from cladescope.dictionaries.training.schedule import Pace, n_steps
    from cladescope.dictionaries.training.stepwise import Stepwise

    source = InMemory(planted[0])
    start = initial_dictionary(Beginning.of(planted[0]), FitSpec(32, 3, 0), k=3)
    start.encoder_bias[:6] = 1
    silent = {}
    for coefficient in (0.0, 1 / 32):
        # A share above 1: never.
        recipe = Recipe(**{**vars(RECIPE), "aux_coefficient": coefficient, "lift_share": 2})
        spec = FitSpec(32, 3, 0, recipe)
        stepper = SparseTopK(start, coefficient, ADAM_BETAS)
        learner = Stepwise(stepper, Pace.of(spec, n_steps(recipe, source.tokens)))
        run = Run(learner, source, spec)
        train([run], source.blocks, lambda run: None)
        silent[coefficient] = run.log()["dead_share"][-1]
    assert silent[0.0] > 0.4
    assert silent[1 / 32] < 0.2


@pytest.mark.parametrize("variant", ["topk", "batchtopk", "jumprelu"])
def test_lift_wakes_latents_that_others_outdo(planted, variant):
    x = planted[0]
    # One direction rules: without help most latents never fire.
    x = x + 200 * np.random.default_rng(0).standard_normal((len(x), 1)) * planted[1][:1]
    silent = {}
    for share in (0.01, 2):
        recipe = Recipe(**{**vars(RECIPE), "aux_coefficient": 0.0, "lift_share": share})
        spec = FitSpec(32, 3, 0, recipe)
        fit = fit_dictionary(variant, InMemory(x.astype(np.float32)), spec)
        silent[share] = quality_of(fit.dictionary, x)["dead_share"]
    assert silent[2] > 0.1
    assert silent[0.01] < silent[2] / 2


@pytest.mark.parametrize("steps", [1, 22, 250])
def test_short_runs_lift_as_far_as_250_steps(steps):
    assert steps * schedule.lift(0.004, steps) == pytest.approx(2)
    assert schedule.lift(0.004, 1000) == 0.008


def test_rate_falls_with_width_and_beyond_250_steps():
    rate = RECIPE.learning_rate
    assert schedule.peak_rate(RECIPE, 2**14, 1) == schedule.peak_rate(RECIPE, 2**14, 250) == rate
    assert schedule.peak_rate(RECIPE, 2**8, 250) == pytest.approx(2 * rate)
    assert schedule.peak_rate(RECIPE, 2**14, 1000) == pytest.approx(rate / 2)


def test_first_moment_averages_over_a_hundredth_of_the_run():
    firsts = [schedule.adam_betas(steps)[0] for steps in (1, 150, 500, 10**6)]
    assert firsts == pytest.approx([0.5, 0.5, 0.8, 0.9])


@pytest.mark.parametrize("variant", ["topk", "relu"])
def test_divergence_names_step_loss_and_rate(planted, variant):
    spec = FitSpec(32, 3, 0, Recipe(**{**vars(RECIPE), "learning_rate": 1e6}))
    message = r"diverged at step \d+: normalised error \S+, learning rate"
    with pytest.raises(FloatingPointError, match=message):
        fit_dictionary(variant, InMemory(planted[0]), spec)


def test_checkpoint_of_another_run_or_half_written_is_ignored(tmp_path):
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, "mine", 7, {"a": np.arange(3.0)})
    assert load_checkpoint(path, "other") is None
    step, state = load_checkpoint(path, "mine")
    assert step == 7
    assert state["a"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:40])
    assert load_checkpoint(path, "mine") is None
    assert load_checkpoint(tmp_path / "absent", "mine") is None
