"""Latents that fire by what others do: chosen one after another, or below a parent."""

import json
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange.saelens import export_saelens
from cladescope.dictionaries.on_device import OnDevice
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.spec import FitSpec
from cladescope.dictionaries.variants.matching_pursuit import MatchingPursuit

D, WIDTH, K, PARENTS = 8, 20, 3, 5


@pytest.fixture(scope="module")
def plain():
    random = np.random.default_rng(0)
    encoder, decoder = random.standard_normal((2, WIDTH, D)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    bias = random.standard_normal(WIDTH).astype(np.float32)
    centre, mean = random.standard_normal((2, D)).astype(np.float32)
    return Dictionary(encoder, bias, decoder, centre, mean, 1.5, k=K)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(2).standard_normal((300, D)).astype(np.float32)


def pursued(subject, x):
    """Encode row by row in float64, from the words of docs/dictionaries.md."""
    codes = np.zeros((len(x), subject.width))
    for i, row in enumerate(x.astype(np.float64)):
        rest = row - subject.decoder_bias
        for _ in range(subject.k):
            p = [float(w @ rest + b) for w, b in zip(*weights_of(subject), strict=True)]
            best = p.index(max(p))
            if p[best] <= 0:
                break
            codes[i, best] += p[best]
            rest = rest - p[best] * subject.decoder[best]
    return codes


def below_parents(subject, x):
    """The same for parents and their children."""
    m, codes = subject.parents, np.zeros((len(x), subject.width))
    of_each = (subject.width - m) // m
    for i, row in enumerate(x.astype(np.float64)):
        pre = subject.encoder @ (row - subject.decoder_bias) + subject.encoder_bias
        for parent in sorted(range(m), key=lambda j, pre=pre: -pre[j])[: subject.k]:
            if pre[parent] <= 0:
                continue
            codes[i, parent] = pre[parent]
            first = m + parent * of_each
            child = max(range(first, first + of_each), key=lambda j, pre=pre: pre[j])
            codes[i, child] = max(pre[child], 0)
    return codes


def weights_of(subject):
    return subject.encoder.astype(np.float64), subject.encoder_bias.astype(np.float64)


RULES = {"pursuit": ({"pursuit": True}, pursued), "parents": ({"parents": PARENTS}, below_parents)}


@pytest.mark.parametrize("rule", RULES)
def test_encoding_equals_a_loop_in_float64(plain, x, rule):
    told, by_loop = RULES[rule]
    subject = replace(plain, **told)
    expected = by_loop(subject, x)
    assert (expected > 0).sum(1).max() > (1 if rule == "pursuit" else K)
    found, guess = OnDevice(subject, torch.device("cpu")).reconstruct(x)
    for codes in (subject.encode(x), found):
        assert codes.dtype == np.float32
        assert ((codes > 0) == (expected > 0)).all()
        np.testing.assert_allclose(codes, expected, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(guess, subject.decode(subject.encode(x)), rtol=1e-4, atol=1e-4)


def test_pursuit_by_hand(plain):
    """Rows (1, 0) and (.6, .8); x' = (1, 1), no biases, two choices.

    Products 1 and 1.4: the second, 1.4, leaves (1 − .84, 1 − 1.12) = (.16, −.12). Products .16 and
    0: the first, .16, leaves (0, −.12). One more: products 0 and −.096, and nothing fires.
    """
    rows, zeros = np.array([[1, 0], [0.6, 0.8]], np.float32), np.zeros(2, np.float32)
    for k in (2, 3):
        subject = Dictionary(rows, zeros, rows, zeros, zeros, 1.0, k=k, pursuit=True)
        z = subject.encode(np.array([[1, 1], [-1, -1]], np.float32))
        np.testing.assert_allclose(z, [[0.16, 1.4], [0, 0]], atol=1e-6)


def test_a_parent_fires_wherever_its_child_does(plain, x):
    fires = replace(plain, parents=PARENTS).encode(x) > 0
    children = fires[:, PARENTS:].reshape(len(x), PARENTS, -1)
    assert children.any((0, 2)).all()
    assert not (children & ~fires[:, :PARENTS, None]).any()
    assert children.sum(2).max() == 1


@pytest.mark.parametrize("rule", RULES)
def test_files_round_trip_and_say_the_rule(plain, x, rule, tmp_path):
    path, subject = tmp_path / "sae.safetensors", replace(plain, **RULES[rule][0])
    subject.save(path, {})
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["format"] == "cladescope-dictionary-4"
    assert {name: about[name] for name in ("pursuit", "parents") if name in about} == (
        RULES[rule][0]
    )
    loaded = Dictionary.load(path)
    assert np.array_equal(loaded.encode(x), subject.encode(x))
    loaded.save(tmp_path / "again.safetensors", {})
    for suffix in (".safetensors", ".json"):
        assert path.with_suffix(suffix).read_bytes() == (tmp_path / f"again{suffix}").read_bytes()
    plain.save(path, {})
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["format"] == "cladescope-dictionary-2" and set(about) == (
        {"format", "scale", "k", "identity"}
    )
    subject.save(path, {})
    with pytest.raises(ValueError, match="fire by a rule, which is not exported to SAELens"):
        export_saelens(path, tmp_path)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"pursuit": True, "k": None}, "pursuit needs a k"),
        ({"pursuit": True, "parents": 5}, "pursuit has no meaning beside"),
        ({"pursuit": True, "threshold": np.ones(1, np.float32)}, "pursuit has no meaning beside"),
        ({"parents": 5, "threshold": np.ones(1, np.float32)}, "parents has no meaning beside"),
        ({"parents": 5, "k": None}, "parents needs a k"),
        ({"parents": 2}, "parents is 2; it must be 3, which is k, or more"),
        ({"parents": 6}, "parents is 6; .* below the width 20, and divide it"),
        ({"parents": 20}, "parents is 20; .* below the width 20"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(plain, tmp_path, told, message):
    with pytest.raises(ValueError, match=f"sae.safetensors: {message}"):
        replace(plain, **told).save(tmp_path / "sae.safetensors", {})


def test_gradient_of_pursuit_is_that_of_the_equation_in_float64(x):
    """The choices are fixed by the weights; what is chosen is differentiated through all steps."""
    spec = FitSpec(WIDTH, K, 0)
    start = MatchingPursuit.begin(Beginning.of(x), spec)
    sae, rows = MatchingPursuit(start, K), start.normalise(x[:64])
    with torch.no_grad():
        sae.decoder_bias += 0.1
    sae.loss(
        torch.from_numpy(rows), sae.activate(sae.pre_activations(torch.from_numpy(rows)))
    ).backward()

    decoder, centre = (
        getattr(sae, name).detach().double().requires_grad_()
        for name in ("decoder", "decoder_bias")
    )
    total = 0.0
    for row in torch.from_numpy(rows).double():
        rest = row - centre
        for _ in range(K):
            p = decoder @ rest
            best = int(p.argmax())
            if p[best] > 0:
                rest = rest - p[best] * decoder[best]
        total = total + rest.square().mean()
    (total / len(rows)).backward()
    for found, expected in ((sae.decoder.grad, decoder.grad), (sae.decoder_bias.grad, centre.grad)):
        assert np.abs(expected.numpy()).max() > 1e-3
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=2e-6)
    assert [name for name, p in sae.named_parameters() if p.requires_grad] == (
        ["decoder", "decoder_bias"]
    )


OVERCOMPLETE = """
import importlib.util, sys, types, numpy as np, torch
# Without its __init__, which draws figures and wants an older matplotlib.
package = types.ModuleType("overcomplete")
package.__path__ = importlib.util.find_spec("overcomplete").submodule_search_locations
sys.modules["overcomplete"] = package
from overcomplete.sae.mp_sae import MpSAE
rows, dictionary, k, out = sys.argv[1:5]
W = torch.from_numpy(np.load(dictionary))
sae = MpSAE(W.shape[1], W.shape[0], k=int(k))
sae.dictionary._weights.data = W
with torch.no_grad():
    _, codes = sae.encode(torch.from_numpy(np.load(rows)))
    np.save(out, codes.numpy())
"""


@pytest.mark.skipif("PEERS_PYTHON" not in os.environ, reason="it takes `make test-peers`")
def test_codes_of_pursuit_are_overcompletes(plain, x, tmp_path):
    zeros = np.zeros(WIDTH, np.float32)
    subject = replace(plain, encoder=plain.decoder, encoder_bias=zeros, pursuit=True)
    names = [str(tmp_path / name) for name in ("x.npy", "rows.npy", "codes.npy")]
    np.save(names[0], x - plain.decoder_bias)
    np.save(names[1], plain.decoder)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [os.environ["PEERS_PYTHON"], "-c", OVERCOMPLETE, *names[:2], str(K), names[2]]
    subprocess.run(command, check=True, env=environment)
    theirs = np.load(names[2])
    # Theirs goes on where no row leads towards what is left, with a negative code.
    onwards = (theirs >= 0).all(1)
    assert onwards.mean() > 0.9
    assert subject.encode(x)[onwards] == pytest.approx(theirs[onwards], abs=1e-5)
