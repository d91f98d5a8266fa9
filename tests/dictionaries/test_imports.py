"""Dictionaries of sparsify and dictionary_learning: their formats by hand, and the packages.

The packages have an environment of their own: `make test-peers` makes it and runs the last tests.
"""

import hashlib
import json
import os
import pickle
import subprocess

import numpy as np
import pytest
import torch
from benchmarks.formats import KINDS
from safetensors.torch import save_file

from checkouts import edit
from cladescope.codes.encode import encode
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import FILES, Source
from cladescope.dictionaries.exchange.dictionary_learning import CLASSES
from cladescope.dictionaries.exchange.header import read_header
from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.dictionaries.exchange.saelens import export_saelens
from cladescope.files import read_json, write_json

WIDTH, D, K = 20, 8, 3


@pytest.fixture
def x() -> np.ndarray:
    return (5 + 2 * np.random.default_rng(0).standard_normal((50, D))).astype(np.float32)


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(1)
    return lambda *shape: torch.randn(*shape, generator=generator)


def sparsify_files(folder, draw, **settings):
    tensors = {"encoder.weight": draw(WIDTH, D), "encoder.bias": draw(WIDTH)}
    tensors |= {"W_dec": draw(WIDTH, D), "b_dec": draw(D)}
    folder.mkdir()
    save_file(tensors, folder / "sae.safetensors")
    config = {"activation": "topk", "k": K, "d_in": D, "transcode": False, **settings}
    (folder / "cfg.json").write_text(json.dumps(config))
    return tensors


def learning_files(folder, draw, kind):
    """What the package saves of an object of this class."""
    if kind == "GatedAutoEncoder":
        state = {"encoder.weight": draw(WIDTH, D), "decoder.weight": draw(D, WIDTH)}
        state |= {name: draw(WIDTH) for name in ("r_mag", "mag_bias", "gate_bias")}
        state["decoder_bias"] = draw(D)
    elif kind in ("AutoEncoder", "AutoEncoderNew", "AutoEncoderTopK", "BatchTopKSAE"):
        centre = {"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias"}.get(kind, "b_dec")
        state = {"encoder.weight": draw(WIDTH, D), "encoder.bias": draw(WIDTH)}
        state |= {"decoder.weight": draw(D, WIDTH), centre: draw(D)}
    else:
        state = {"W_enc": draw(D, WIDTH), "b_enc": draw(WIDTH), "W_dec": draw(WIDTH, D)}
        state["b_dec"] = draw(D)
    if kind == "JumpReluAutoEncoder":
        state["threshold"] = draw(WIDTH).abs()
    elif kind not in ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder"):
        state |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(1.5)}
    if kind == "MatryoshkaBatchTopKSAE":
        state["group_sizes"] = torch.tensor([5, 15])
    folder.mkdir()
    torch.save(state, folder / "ae.pt")
    config = {"trainer": {"dict_class": kind, "k": K, "activation_dim": D, "dict_size": WIDTH}}
    (folder / "config.json").write_text(json.dumps(config))
    return {name: value.numpy().astype(np.float64) for name, value in state.items()}


def imported(form, folder, x) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes and the reconstruction of raw activations."""
    import_dictionary(Source(form, folder), folder / "out" / "sae.safetensors")
    dictionary = Dictionary.load(folder / "out" / "sae.safetensors")
    assert read_header(Source(form, folder)) == (x.shape[1], dictionary.per_token)
    z = dictionary.encode(dictionary.normalise(x))
    return z, dictionary.decode(z)


def by_loop(z: np.ndarray, k: int | None, threshold: np.ndarray | float = 0) -> np.ndarray:
    """Keep what is above the threshold, and of it the k largest of each row."""
    kept = np.zeros_like(z)
    for i, row in enumerate(z):
        order = sorted(range(len(row)), key=lambda j, row=row: -row[j])[: k or len(row)]
        for j in order:
            if row[j] > np.broadcast_to(threshold, len(row))[j]:
                kept[i, j] = row[j]
    return kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sparsify_by_its_formula(tmp_path, x, draw, dtype):
    tensors = sparsify_files(tmp_path / "theirs", lambda *shape: draw(*shape).to(dtype))
    w = {name: value.double().numpy() for name, value in tensors.items()}
    z = np.maximum((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"], 0)
    expected = by_loop(z, K)
    codes, guess = imported("sparsify", tmp_path / "theirs", x)
    assert codes == pytest.approx(expected, abs=1e-4)
    assert guess == pytest.approx(expected @ w["W_dec"] + w["b_dec"], abs=1e-4)
    about = read_json(tmp_path / "theirs" / "out" / "sae.json")["identity"]
    assert about["variant"] == "sparsify"
    assert about["made_from"]["settings"]["k"] == K
    content = (tmp_path / "theirs" / "sae.safetensors").read_bytes()
    assert about["made_from"]["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", CLASSES)
def test_dictionary_learning_by_its_formula(tmp_path, x, draw, kind):
    w = learning_files(tmp_path / "theirs", draw, kind)
    if "W_enc" in w:
        encoder, bias, decoder = w["W_enc"].T, w["b_enc"], w["W_dec"]
    elif kind == "GatedAutoEncoder":
        encoder, bias = w["encoder.weight"] * np.exp(w["r_mag"])[:, None], w["mag_bias"]
        decoder = w["decoder.weight"].T
    else:
        encoder, bias = w["encoder.weight"], w["encoder.bias"]
        decoder = w["decoder.weight"].T
    centres = ("bias", "decoder.bias", "b_dec", "decoder_bias")
    centre = w[next(name for name in centres if name in w)]
    seen = x if kind in ("JumpReluAutoEncoder", "AutoEncoderNew") else x - centre
    z = np.maximum(seen @ encoder.T + bias, 0)
    top_k = kind == "AutoEncoderTopK"
    expected = by_loop(z, K if top_k else None, 0 if top_k else w.get("threshold", 0))
    if kind == "GatedAutoEncoder":
        expected[seen @ w["encoder.weight"].T + w["gate_bias"] <= 0] = 0
    assert (expected > 0).any(), "nothing fires"
    assert (expected == 0).any(), "everything fires"
    guess = expected @ decoder + centre
    if kind == "AutoEncoder":
        expected = expected * np.linalg.norm(decoder, axis=1)
    codes, reconstruction = imported("dictionary_learning", tmp_path / "theirs", x)
    assert codes == pytest.approx(expected, abs=1e-4)
    assert reconstruction == pytest.approx(guess, abs=1e-4)


def test_a_threshold_that_training_never_set_keeps_all(tmp_path, x, draw):
    learning_files(tmp_path / "theirs", draw, "BatchTopKSAE")
    state = torch.load(tmp_path / "theirs" / "ae.pt", weights_only=True)
    torch.save({**state, "threshold": torch.tensor(-1.0)}, tmp_path / "theirs" / "ae.pt")
    z = (torch.from_numpy(x) - state["b_dec"]) @ state["encoder.weight"].T + state["encoder.bias"]
    codes, _ = imported("dictionary_learning", tmp_path / "theirs", x)
    assert codes == pytest.approx(z.relu().numpy(), abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "name"), [("BatchTopKSAE", "threshold"), ("AutoEncoderTopK", "k")]
)
def test_a_rule_that_the_file_lacks_is_asked_for(tmp_path, x, draw, kind, name):
    learning_files(tmp_path / "theirs", draw, kind)
    state = torch.load(tmp_path / "theirs" / "ae.pt", weights_only=True)
    del state[name]
    torch.save(state, tmp_path / "theirs" / "ae.pt")
    with pytest.raises(ValueError, match=f"ae.pt has no '{name}', which a {kind} has"):
        imported("dictionary_learning", tmp_path / "theirs", x)


def test_thresholds_of_saelens_below_0_keep_what_is_positive(tmp_path, x, draw):
    d, width = x.shape[1], 6
    tensors = {"W_enc": draw(d, width), "b_enc": draw(width), "W_dec": draw(width, d)}
    tensors |= {"b_dec": draw(d), "threshold": -torch.ones(width)}
    (tmp_path / "theirs").mkdir()
    save_file(tensors, tmp_path / "theirs" / "sae_weights.safetensors")
    write_json(tmp_path / "theirs" / "cfg.json", {"architecture": "jumprelu"})
    codes, _ = imported("saelens", tmp_path / "theirs", x)
    z = (torch.from_numpy(x) - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]
    assert codes == pytest.approx(z.relu().numpy(), abs=1e-4)


def test_own_dictionaries_stay_what_they_are(tmp_path, x, draw):
    sparsify_files(tmp_path / "theirs", draw)
    codes, _ = imported("sparsify", tmp_path / "theirs", x)
    again, _ = imported("cladescope", tmp_path / "theirs" / "out", x)
    assert np.array_equal(codes, again)


@pytest.mark.parametrize(
    ("key", "value"), [("activation", "groupmax"), ("transcode", True), ("skip_connection", True)]
)
def test_what_sparsify_can_and_we_cannot_is_refused(tmp_path, draw, key, value):
    sparsify_files(tmp_path / "theirs", draw, **{key: value})
    with pytest.raises(ValueError, match=rf"cfg\.json: {key} {value!r} has no counterpart here"):
        import_dictionary(Source("sparsify", tmp_path / "theirs"), tmp_path / "sae.safetensors")
    assert not (tmp_path / "sae.safetensors").exists()


@pytest.mark.parametrize("k", [None, 0, 3.0])
def test_a_k_that_is_no_number_of_latents_is_refused(tmp_path, draw, k):
    sparsify_files(tmp_path / "theirs", draw, k=k)
    with pytest.raises(ValueError, match=rf"cfg\.json: k is {k}, it must be a number of latents"):
        import_dictionary(Source("sparsify", tmp_path / "theirs"), tmp_path / "sae.safetensors")


def test_unknown_classes_are_refused(tmp_path, draw):
    learning_files(tmp_path / "theirs", draw, "AutoEncoder")
    config = {"trainer": {"dict_class": "IdentityDict"}}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"dict_class 'IdentityDict' has no counterpart"):
        import_dictionary(
            Source("dictionary_learning", tmp_path / "theirs"), tmp_path / "sae.safetensors"
        )


def test_code_in_a_checkpoint_is_not_run(tmp_path, draw):
    learning_files(tmp_path / "theirs", draw, "AutoEncoder")

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    (tmp_path / "theirs" / "ae.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ValueError, match=r"ae\.pt holds something else"):
        import_dictionary(
            Source("dictionary_learning", tmp_path / "theirs"), tmp_path / "sae.safetensors"
        )
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("form", FILES)
def test_a_folder_without_the_files_is_named(tmp_path, form):
    with pytest.raises(FileNotFoundError, match=f"has no {' and no '.join(FILES[form])}; a dict"):
        import_dictionary(Source(form, tmp_path), tmp_path / "sae.safetensors")


@pytest.mark.slow
def test_a_study_scores_it_beside_its_own(checkout, config):
    """Its own dictionary, by way of SAELens's files: a new variant, and nothing else is made."""
    point = "results/small/trained/dictionaries/cls/L8"
    own = checkout.folder / point / "topk" / "w48_k4_s0"
    export_saelens(own / "sae.safetensors", checkout.folder / "lens")
    source = {"format": "saelens", "folder": "lens", "layer": 8, "token": "cls"}
    checkout.write(edit(config, {"experiments.trained.sweep.imported": {"theirs": source}}))
    target = f"{point}/theirs/full/scores.json"
    assert checkout.planned("--", target) == dict.fromkeys(
        ("import_dictionary", "encode", "score_dictionary"), 1
    )
    # The same of the hub, which a run does not reach for.
    source["folder"] = "hub:owner/lens"
    checkout.write(edit(config, {"experiments.trained.sweep.imported": {"theirs": source}}))
    cache = checkout.folder / "hub"
    here = ("env", f"HF_HUB_CACHE={cache}")
    result = checkout.run("-n", "--", target, prefix=here)
    assert result.returncode != 0
    said = "hub:owner/lens: cfg.json and sae_weights.safetensors not in the local cache"
    assert said in result.stdout + result.stderr
    (cache / "models--owner--lens" / "refs").mkdir(parents=True)
    (cache / "models--owner--lens" / "refs" / "main").write_text("abc")
    (cache / "models--owner--lens" / "snapshots").mkdir()
    (checkout.folder / "lens").rename(cache / "models--owner--lens" / "snapshots" / "abc")
    result = checkout.run("--", target, prefix=here)
    assert result.returncode == 0, result.stderr
    about = read_json(checkout.folder / f"{point}/theirs/full/sae.json")
    assert about["identity"]["made_from"]["hub"] == "owner/lens@abc"
    theirs = read_json(checkout.folder / target)
    for name, score in read_json(own / "scores.json").items():
        if isinstance(score, float):
            assert theirs[name] == pytest.approx(score, abs=1e-6), name


@pytest.mark.slow
def test_maps_that_cannot_be_are_refused_before_any_job(checkout, config, tmp_path):
    """Latents are not linear in tokens that are brought to one scale first."""
    own = checkout.folder / "results/small/trained/dictionaries/cls/L8/topk/w48_k4_s0"
    export_saelens(own / "sae.safetensors", tmp_path)
    about = tmp_path / "cfg.json"
    source = {"format": "saelens", "folder": str(tmp_path), "layer": 8, "token": "cls"}
    place = "trained/dictionaries/cls/L8/theirs/full"
    config["relevancy"] = {"dictionaries": [place], "nodes": ["n02084071"]}
    checkout.write(edit(config, {"experiments.trained.sweep.imported": {"theirs": source}}))
    assert checkout.planned("--", f"results/small/{place}/relevancy.parquet")["map_relevancy"] == 1
    write_json(about, read_json(about) | {"normalize_activations": "layer_norm"})
    result = checkout.run("-n")
    assert result.returncode != 0
    said = f"relevancy: {place} brings each token to standard deviation 1"
    assert said in result.stdout + result.stderr
    about.unlink()
    result = checkout.run("-n")
    assert f"{place}: {tmp_path} has no cfg.json" in result.stdout + result.stderr


def test_activations_of_another_width_are_refused(tmp_path, x, draw):
    sparsify_files(tmp_path / "theirs", draw)
    import_dictionary(Source("sparsify", tmp_path / "theirs"), tmp_path / "sae.safetensors")
    dictionary = Dictionary.load(tmp_path / "sae.safetensors")
    with pytest.raises(ValueError, match="7 dimensions, but the dictionary is of 8: it belongs"):
        encode(dictionary, [x[:, None, :7]], np.zeros(len(x), np.int32))


@pytest.mark.skipif("PEERS_PYTHON" not in os.environ, reason="it takes `make test-peers`")
def test_codes_are_the_packages_own(tmp_path, root):
    """Of every kind that benchmarks/formats.py knows, each made by its package."""
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- from benchmarks/formats.py, by make formats -->\n<!-- end -->\n")
    command = [os.environ["PEERS_PYTHON"], root / "benchmarks" / "formats.py", page]
    library = str(root / "workflow" / "lib")
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": library})
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + sum(map(len, KINDS.values()))
    for row in rows[1:]:
        assert float(row[4]) > 5, f"{row}: hardly anything fires"
        assert float(row[5]) < 1e-4, row
