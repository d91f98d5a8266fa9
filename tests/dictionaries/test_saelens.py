"""Exchange with SAELens: its format, computed by hand, and the package itself where it is.

SAELens has an environment of its own: `make test-peers` makes it and runs the last test, too.
"""

import os
import re
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import Source
from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.dictionaries.exchange.saelens import export_saelens
from cladescope.files import read_json, write_json

KINDS = {
    "standard": {},
    "topk": {"k": 3},
    "jumprelu": {"threshold": np.linspace(0, 2, 20, dtype=np.float32)},
    "batchtopk": {"threshold": np.array([0.7], np.float32)},
}


@pytest.fixture
def x():
    return (5 + 2 * np.random.default_rng(0).standard_normal((50, 8))).astype(np.float32)


@pytest.fixture
def exported(request, tmp_path):
    draw = np.random.default_rng(1).standard_normal
    decoder = draw((20, 8))
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    dictionary = Dictionary(
        encoder=draw((20, 8)).astype(np.float32),
        encoder_bias=draw(20).astype(np.float32),
        decoder=decoder.astype(np.float32),
        decoder_bias=draw(8).astype(np.float32),
        mean=5 + draw(8).astype(np.float32),
        scale=2.5,
        **KINDS[request.param],
    )
    dictionary.save(tmp_path / "sae.safetensors", {"variant": request.param})
    export_saelens(tmp_path / "sae.safetensors", tmp_path / "lens")
    return dictionary


def reconstruction(dictionary, x):
    guess = dictionary.decode(dictionary.encode(dictionary.normalise(x)))
    return guess * dictionary.scale + dictionary.mean


@pytest.mark.parametrize("exported", KINDS, indirect=True)
def test_exported_weights_reconstruct_by_saelens_formula(exported, x, tmp_path):
    w = load_file(tmp_path / "lens" / "sae_weights.safetensors")
    config = read_json(tmp_path / "lens" / "cfg.json")
    z = np.maximum((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 0)
    if config["architecture"] == "topk":
        z[z < -np.sort(-z, axis=1)[:, config["k"] - 1 : config["k"]]] = 0
    if config["architecture"] == "jumprelu":
        z[z <= w["threshold"]] = 0
    assert z @ w["W_dec"] + w["b_dec"] == pytest.approx(reconstruction(exported, x), abs=1e-4)
    assert exported.encode(exported.normalise(x)) * 2.5 == pytest.approx(z, abs=1e-4)


@pytest.mark.parametrize("exported", KINDS, indirect=True)
def test_round_trip_reconstructs_the_same(exported, x, tmp_path):
    import_dictionary(Source("saelens", tmp_path / "lens"), tmp_path / "back.safetensors")
    back = Dictionary.load(tmp_path / "back.safetensors")
    assert reconstruction(back, x) == pytest.approx(reconstruction(exported, x), abs=1e-4)


@pytest.mark.parametrize("exported", ["topk"], indirect=True)
def test_import_folds_what_saelens_leaves_to_the_run(exported, x, tmp_path):
    """Rows that are not of unit norm, ranked by activation times norm; b_dec not in the input."""
    folder = tmp_path / "lens"
    w, config = load_file(folder / "sae_weights.safetensors"), read_json(folder / "cfg.json")
    norms = np.linspace(0.5, 2, 20, dtype=np.float32)
    w["b_enc"] = (w["b_enc"] - w["b_dec"] @ w["W_enc"]) / norms
    w["W_enc"], w["W_dec"] = w["W_enc"] / norms, w["W_dec"] * norms[:, None]
    save_file(w, folder / "sae_weights.safetensors")
    config |= {"rescale_acts_by_decoder_norm": True, "apply_b_dec_to_input": False}
    write_json(folder / "cfg.json", config)
    import_dictionary(Source("saelens", folder), tmp_path / "back.safetensors")
    back = Dictionary.load(tmp_path / "back.safetensors")
    assert reconstruction(back, x) == pytest.approx(reconstruction(exported, x), abs=1e-3)


@pytest.mark.parametrize("exported", ["topk"], indirect=True)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architecture", "temporal"),
        ("normalize_activations", "constant_norm_rescale"),
        ("dtype", "float8"),
    ],
)
def test_what_cannot_be_expressed_is_refused(exported, tmp_path, key, value):
    config = read_json(tmp_path / "lens" / "cfg.json")
    write_json(tmp_path / "lens" / "cfg.json", {**config, key: value})
    with pytest.raises(ValueError, match=rf"cfg.json: {key} '{value}' has no counterpart"):
        import_dictionary(Source("saelens", tmp_path / "lens"), tmp_path / "back.safetensors")


@pytest.mark.parametrize("exported", ["standard"], indirect=True)
def test_matching_pursuit_is_read_if_it_takes_a_number_of_steps(exported, tmp_path):
    config = read_json(tmp_path / "lens" / "cfg.json") | {"architecture": "matching_pursuit"}
    write_json(tmp_path / "lens" / "cfg.json", {**config, "max_iterations": 4})
    with pytest.raises(ValueError, match=r"matching pursuit that stops by residual_threshold or"):
        import_dictionary(Source("saelens", tmp_path / "lens"), tmp_path / "back.safetensors")
    steps = {"residual_threshold": 0, "stop_on_duplicate_support": False}
    write_json(tmp_path / "lens" / "cfg.json", {**config, **steps})
    with pytest.raises(ValueError, match=r"max_iterations is None, it must be a number"):
        import_dictionary(Source("saelens", tmp_path / "lens"), tmp_path / "back.safetensors")
    write_json(tmp_path / "lens" / "cfg.json", {**config, **steps, "max_iterations": 4})
    import_dictionary(Source("saelens", tmp_path / "lens"), tmp_path / "back.safetensors")
    back = Dictionary.load(tmp_path / "back.safetensors")
    assert back.pursuit
    assert back.k == 4
    assert np.array_equal(back.encoder, exported.decoder)


WEIGHTS = "sae_weights.safetensors"


@pytest.mark.parametrize("exported", ["jumprelu"], indirect=True)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lens: (lens / "cfg.json").write_text("["), r"cfg.json cannot be read .* copy it"),
        (lambda lens: (lens / "cfg.json").write_text("[]"), r"cfg.json is not what SAELens writes"),
        (lambda lens: recast(lens, architecture="topk"), r"cfg.json: k is None, it must be"),
        (lambda lens: recast(lens, architecture="topk", k="2"), r"cfg.json: k is '2', it must be"),
        (lambda lens: os.truncate(lens / WEIGHTS, 99), rf"{WEIGHTS} cannot be read .* copy it"),
        (lambda lens: reweigh(lens, W_enc=None), rf"{WEIGHTS} lacks W_enc"),
        (lambda lens: reweigh(lens, threshold=None), rf"{WEIGHTS} lacks threshold"),
        (lambda lens: reweigh(lens, b_dec=np.ones(3, np.float32)), rf"{WEIGHTS}: .*do not fit"),
        (lambda lens: reweigh(lens, b_enc=np.ones(3, np.float32)), r"encoder_bias is of shape"),
    ],
)
def test_damaged_files_are_named(exported, tmp_path, change, said):
    change(tmp_path / "lens")
    with pytest.raises(ValueError, match=said):
        import_dictionary(Source("saelens", tmp_path / "lens"), tmp_path / "back.safetensors")
    assert not (tmp_path / "back.safetensors").exists()


def recast(lens, **changes):
    path = lens / "cfg.json"
    write_json(path, {**read_json(path), **changes})


def reweigh(lens, **changes):
    """Replace tensors, or remove those that are None."""
    tensors = {**load_file(lens / WEIGHTS), **changes}
    save_file({n: value for n, value in tensors.items() if value is not None}, lens / WEIGHTS)


THERE_AND_BACK = """
import sys, numpy as np, torch
from sae_lens import SAE
folder, rows, out = sys.argv[1:]
sae = SAE.load_from_disk(f"{folder}/lens", device="cpu")
with torch.no_grad():
    np.save(out, sae(torch.from_numpy(np.load(rows))).numpy())
sae.save_model(f"{folder}/saved")
"""


@pytest.mark.skipif("PEERS_PYTHON" not in os.environ, reason="it takes `make test-peers`")
@pytest.mark.parametrize("exported", KINDS, indirect=True)
def test_the_package_reads_ours_and_writes_what_we_read(exported, x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    command = [os.environ["PEERS_PYTHON"], "-c", THERE_AND_BACK]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    paths = [str(tmp_path / name) for name in ("", "x.npy", "theirs.npy")]
    subprocess.run([*command, *paths], check=True, env=environment)
    expected = reconstruction(exported, x)
    assert np.load(tmp_path / "theirs.npy") == pytest.approx(expected, abs=1e-4)
    import_dictionary(Source("saelens", tmp_path / "saved"), tmp_path / "back.safetensors")
    back = Dictionary.load(tmp_path / "back.safetensors")
    assert reconstruction(back, x) == pytest.approx(expected, abs=1e-4)


@pytest.mark.skipif("PEERS_PYTHON" not in os.environ, reason="it takes `make test-peers`")
def test_ten_lines_score_a_dictionary_of_the_package(tmp_path, root):
    """The blocks of docs/library.md, as they stand there; and the command beside them."""
    section = (root / "docs" / "library.md").read_text().split("## A dictionary of SAELens")[1]
    ten, beside, make = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len([line for line in ten.splitlines() if line]) == 10
    (command,) = re.findall(r"^cladescope (score .*)", section, re.MULTILINE)
    (tmp_path / "resources").symlink_to(root / "resources")
    library = str(root / "workflow" / "lib")
    environment = {**os.environ, "PYTHONPATH": library, "OMP_NUM_THREADS": "1"}

    def run(*arguments):
        call = [os.environ["PEERS_PYTHON"], *arguments]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-c", make)
    printed = run("-c", f'{ten}\nnp.save("codes.npy", z)\n{beside}').split()
    held_out, null, of_clusters, null_of_clusters = map(float, printed)
    assert abs(null) < 0.05
    assert abs(null_of_clusters) < 0.05
    assert 0.05 < held_out < of_clusters
    assert f"{held_out:.3f}" in run("-m", "cladescope", *command.split())
    assert {"latents.parquet", "scores.json"} <= {p.name for p in (tmp_path / "scores").iterdir()}
