"""Formats of libraries that no package registry has, by their formulas; what is refused, of all."""

import json

import numpy as np
import pytest
import torch
import yaml
from benchmarks.formats import BY_FORMULA, KINDS, D, K, Made, codes, drawn, openai, prisma, saev
from safetensors.torch import save_file

from cladescope.causes.ablate import Changes, Set
from cladescope.causes.tpp import Tokens, targeted_perturbation
from cladescope.codes.codes import Codes
from cladescope.codes.encode import encode
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.exchange import FILES, SETTINGS, Source
from cladescope.dictionaries.exchange.header import read_header
from cladescope.dictionaries.exchange.importing import import_dictionary
from cladescope.dictionaries.exchange.saelens import export_saelens
from cladescope.files import read_json, write_json
from cladescope.relevancy.methods import Target

WIDTH = 6


def test_the_configuration_knows_every_format(root):
    library = root / "workflow" / "lib" / "cladescope"
    schema = yaml.safe_load((library / "config.schema.yaml").read_text())
    keys = schema["$defs"]["imported"]["properties"]
    assert keys["format"]["enum"] == [*FILES]
    assert {*keys["settings"]["properties"]} == {
        name for names in SETTINGS.values() for name in names
    }


@pytest.mark.parametrize(
    ("make", "kind"), [(make, kind) for make in BY_FORMULA for kind in KINDS[make]]
)
def test_codes_are_those_of_the_formula(make, kind):
    theirs, ours = codes(make, kind)
    fires = (theirs > 0).mean()
    assert 0.02 < fires < 0.6, "hardly any latent fires, or nearly all do"
    assert np.array_equal(ours > 0, theirs > 0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def read(source, folder) -> Dictionary:
    import_dictionary(source, folder / "out" / "sae.safetensors")
    dictionary = Dictionary.load(folder / "out" / "sae.safetensors")
    assert read_header(source) == (len(dictionary.mean), dictionary.per_token)
    return dictionary


def refused(source, folder, said) -> None:
    with pytest.raises(ValueError, match=said):
        import_dictionary(source, folder / "out" / "sae.safetensors")
    assert not (folder / "out").exists()


def saved_overcomplete(folder, **changes):
    """The state of a small SAE of overcomplete, rows of its dictionary at length 1."""
    rows = torch.nn.functional.normalize(drawn(WIDTH, D), dim=1)
    state = {"dictionary._weights": rows, "dictionary.multiplier": torch.tensor(0.5)}
    state |= {"encoder.final_block.0.weight": drawn(WIDTH, D, seed=2)}
    state |= {"encoder.final_block.0.bias": drawn(WIDTH, seed=3), **changes}
    state = {name: value for name, value in state.items() if value is not None}
    torch.save(state, folder / "sae.pt")
    return {name: value.double().numpy() for name, value in state.items()}


def settled(folder, **settings):
    return Source("overcomplete", folder, settings=settings)


def test_overcomplete_by_its_formula(tmp_path):
    w = saved_overcomplete(tmp_path, thresholds=torch.linspace(-1, 1, WIDTH))
    x = np.random.default_rng(0).standard_normal((40, D)).astype(np.float32)
    z = x @ w["encoder.final_block.0.weight"].T + w["encoder.final_block.0.bias"]
    z[z < np.exp(w["thresholds"])] = 0
    made = read(settled(tmp_path, **{"class": "JumpSAE"}), tmp_path)
    assert (z > 0).any()
    assert made.encode(made.normalise(x)) == pytest.approx(z, abs=1e-5)
    assert made.decode(z) == pytest.approx(z @ w["dictionary._weights"] * np.exp(0.5), abs=1e-5)


def test_what_reaches_a_threshold_is_kept(tmp_path):
    """overcomplete's BatchTopK keeps ≥ θ, where a dictionary keeps > θ."""
    rows = torch.eye(2)
    state = {"dictionary._weights": rows, "dictionary.multiplier": torch.tensor(0.0)}
    torch.save({**state, "encoder.weight": rows}, tmp_path / "sae.pt")
    made = read(settled(tmp_path, **{"class": "BatchTopKSAE", "threshold": 1.5}), tmp_path)
    x = np.array([[1.5, np.nextafter(np.float32(1.5), np.float32(0))]], np.float32)
    assert np.array_equal(made.encode(x), [[1.5, 0]])


def test_archetypes_are_combined_of_points(tmp_path):
    parts = {"W": torch.tensor([[0.25, 0.75]] * WIDTH), "C": drawn(2, D), "Relax": drawn(WIDTH, D)}
    state = {f"dictionary.{name}": value for name, value in parts.items()}
    saved_overcomplete(tmp_path, **state, **{"dictionary._weights": None})
    made = read(settled(tmp_path, **{"class": "RATopKSAE", "k": 2}), tmp_path)
    c = parts["C"].numpy()
    expected = (0.25 * c[0] + 0.75 * c[1] + parts["Relax"].numpy()) * np.exp(0.5)
    assert made.decoder == pytest.approx(expected, abs=1e-6)
    state["dictionary.W"] = 2 * parts["W"]
    saved_overcomplete(tmp_path, **state, **{"dictionary._weights": None})
    with pytest.raises(ValueError, match=r"no convex combinations, .*; call \.eval\(\)"):
        read(settled(tmp_path, **{"class": "RATopKSAE", "k": 2}), tmp_path)


def test_what_overcomplete_leaves_open_is_asked_for(tmp_path):
    saved_overcomplete(tmp_path)
    refused(settled(tmp_path), tmp_path, r"settings\.class is None; give the class .* TopKSAE")
    refused(settled(tmp_path, **{"class": "QSAE"}), tmp_path, r"settings\.class is 'QSAE'")
    for name, key in (("TopKSAE", "k"), ("MpSAE", "k"), ("BatchTopKSAE", "threshold")):
        refused(
            settled(tmp_path, **{"class": name}), tmp_path, rf"settings\.{key} is None; .*{name}"
        )
    refused(settled(tmp_path, kay=3), tmp_path, "overcomplete has no kay; it has class, k")
    saved_overcomplete(tmp_path, **{"dictionary._weights": 2 * torch.eye(WIDTH, D)})
    source = settled(tmp_path, **{"class": "SAE"})
    refused(source, tmp_path, r"not of length 1, and settings\.normalization is None")
    source.settings["normalization"] = "identity"
    assert read(source, tmp_path).decoder[0, 0] == pytest.approx(2 * np.exp(0.5))
    source.settings["normalization"] = "l2"
    assert read(source, tmp_path).decoder[0, 0] == pytest.approx(np.exp(0.5))


def test_other_encoders_of_overcomplete_are_refused(tmp_path):
    saved_overcomplete(tmp_path, **{"encoder.mlp_blocks.0.0.weight": drawn(D, D)})
    source = settled(tmp_path, **{"class": "SAE"})
    refused(source, tmp_path, r"an encoder of .*encoder\.mlp_blocks\.0\.0\.weight.* no counterpart")


def test_whole_objects_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "sae.pt")
    source = settled(tmp_path, **{"class": "SAE"})
    refused(source, tmp_path, r"sae\.pt holds something else .* save sae\.state_dict\(\)")
    torch.save(torch.zeros(3), tmp_path / "sae.pt")
    refused(source, tmp_path, r"sae\.pt holds something else than tensors by name")


def test_weights_may_be_safetensors_of_another_name(tmp_path):
    saved_overcomplete(tmp_path)
    state = torch.load(tmp_path / "sae.pt", weights_only=True)
    settings = {"class": "TopKSAE", "k": 2}
    before = read(Source("overcomplete", tmp_path, settings=settings), tmp_path)
    save_file(state, tmp_path / "other.safetensors")
    after = read(Source("overcomplete", tmp_path, "other.safetensors", settings), tmp_path)
    assert np.array_equal(before.encoder, after.encoder)
    assert read_json(tmp_path / "out" / "sae.json")["identity"]["made_from"]["given"] == settings


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("normalize_activations", "constant_norm_rescale", "only layer_norm, none, None"),
        ("architecture", "jumprelu", "no counterpart here; only standard, gated"),
        ("activation_fn_str", "tanh-relu", "only relu, topk"),
        ("is_transcoder", True, "only False"),
        ("activation_fn_kwargs", {}, r"activation_fn_kwargs\.k is None, it must be a number of"),
        ("activation_fn_kwargs", {"k": 0}, r"activation_fn_kwargs\.k is 0"),
        ("activation_fn_kwargs", {"k": True}, r"activation_fn_kwargs\.k is True"),
        ("hook_point_layer", 9, r"trained on blocks\.9\.hook_resid_post, not on .* layer 11"),
        ("layer_subtype", "hook_mlp_out", r"trained on blocks\.10\.hook_mlp_out, not on"),
        ("cls_token_only", False, "trained on patches, not on cls"),
        ("normalize_activations", ..., "lacks normalize_activations"),
    ],
)
def test_what_prisma_can_and_we_cannot_is_refused(tmp_path, key, value, said):
    made = prisma("topk", tmp_path)
    config = read_json(tmp_path / "config.json") | {"use_patches_only": key == "cls_token_only"}
    config = {name: v for name, v in {**config, key: value}.items() if v is not ...}
    write_json(tmp_path / "config.json", config)
    refused(made.source, tmp_path, rf"config\.json: .*{said}" if value is not ... else said)


def test_activations_of_openai_are_named(tmp_path):
    made = openai("TopK", tmp_path)
    state = torch.load(tmp_path / "6.pt", weights_only=True)
    torch.save({**state, "activation": "Identity"}, tmp_path / "6.pt")
    refused(
        made.source, tmp_path, r"6\.pt: activation Identity followed by ReLU has no counterpart"
    )
    torch.save({k: v for k, v in state.items() if k != "decoder.weight"}, tmp_path / "6.pt")
    refused(made.source, tmp_path, r"6\.pt lacks decoder\.weight")


def reheaded(made: Made, header: dict) -> Source:
    path = made.source.files[0]
    state = path.read_bytes().split(b"\n", 1)[1]
    path.write_bytes(json.dumps(header).encode() + b"\n" + state)
    return made.source


def test_what_older_files_of_saev_leave_open_is_asked_for(tmp_path):
    made = saev("before schemas", tmp_path)
    given = dict(made.source.settings)
    made.source.settings.clear()
    said = r"give settings\.scale_mean and settings\.scale_norm: false, or"
    refused(made.source, tmp_path, said)
    cfg = {"activation": {"cls": "TopK", "params": {"top_k": K}}}
    source = reheaded(made, {"schema": 2, "cfg": cfg})
    source.settings.update(given)
    refused(source, tmp_path, r"whether the encoder sees x − b_dec.* give settings\.subtract_b_dec")
    codes = []
    for subtracts in (True, False):
        source.settings["subtract_b_dec"] = subtracts
        found = read(source, tmp_path)
        codes.append(found.encode(np.zeros((1, D), np.float32)))
        assert found.k == K
        assert found.scale == given["scale_norm"]
    assert not np.allclose(*codes)
    source.settings["scale_norm"] = True
    with pytest.raises(ValueError, match=r"settings\.scale_norm is True, not false or a number"):
        read(source, tmp_path)
    source.settings.update(scale_norm=False, scale_mean="gone.pt")
    with pytest.raises(
        FileNotFoundError, match=r"has no gone\.pt; a dictionary of the format saev"
    ):
        read(source, tmp_path)
    source.settings.update(scale_mean="sae.pt")
    with pytest.raises(ValueError, match=r"sae\.pt cannot be read"):
        read(source, tmp_path)


def test_other_schemas_and_activations_of_saev_are_refused(tmp_path):
    made = saev("Relu", tmp_path)
    cfg = {"activation": {"cls": "Gelu", "params": {}}}
    refused(reheaded(made, {"schema": 6, "cfg": cfg}), tmp_path, "schema 6 is not known here")
    refused(reheaded(made, {"schema": 5, "cfg": cfg}), tmp_path, "activation 'Gelu' has no counter")
    cfg["activation"]["cls"] = "TopK"
    refused(reheaded(made, {"schema": 5, "cfg": cfg}), tmp_path, "top_k is None, not a number of")
    cfg["activation"]["cls"] = "BatchTopK"
    refused(reheaded(made, {"schema": 5, "cfg": cfg}), tmp_path, r"lacks activation\.threshold")


@pytest.fixture
def per_token(tmp_path) -> Dictionary:
    return read(openai("TopK", tmp_path).source, tmp_path)


def test_quality_of_tokens_at_one_scale_is_in_their_own_units(per_token):
    """Tokens of large σ count as much as in any other dictionary's variance explained."""
    x = np.random.default_rng(0).standard_normal((30, D)).astype(np.float32)
    x[:10] *= 20
    made, found = encode(per_token, [x[:, None]], np.zeros(30, np.int32))
    seen = (x - x.mean(1, keepdims=True)) / (x.std(1, ddof=1, keepdims=True) + 1e-5)
    assert per_token.normalise(x) == pytest.approx(seen, abs=1e-5)
    guess = per_token.decode(per_token.encode(per_token.normalise(x)))
    guess = guess * (x.std(1, ddof=1, keepdims=True) + 1e-5) + x.mean(1, keepdims=True)
    error, total = np.square(x - guess).sum(), np.square(x - x.mean(0)).sum()
    assert found["fve"] == pytest.approx(1 - error / total, rel=1e-4)
    assert made.n_images == 30


def test_ablation_of_tokens_at_one_scale_is_in_their_own_units(per_token):
    x = np.random.default_rng(0).standard_normal((2, 1, D)).astype(np.float32)
    x[1] *= 20
    z = per_token.encode(per_token.normalise(x[:, 0]))
    latent = int(z[1].argmax())
    changes = Changes(per_token, [Set(((latent, latent, None),))])
    both = np.arange(2)
    added = changes.added(x, both, np.zeros(2, int))[:, 0]
    spread = x[:, 0].std(1, ddof=1) + 1e-5
    expected = -(z[:, latent] * spread)[:, None] * per_token.decoder[latent]
    assert added == pytest.approx(expected, abs=1e-4)


def test_tpp_of_tokens_at_one_scale_is_in_their_own_units(per_token):
    """As of a plain dictionary whose codes are each token's, times its σ."""
    random = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    x = (random.standard_normal((3, D))[labels] + random.standard_normal((60, D))).astype(
        np.float32
    )
    x[::2] *= 20
    halves = (np.arange(60) < 30, np.arange(60) >= 30)
    found = []
    z = per_token.encode(per_token.normalise(x))
    plain = Dictionary(**{**vars(per_token), "per_token": False})
    for made, activations in ((per_token, z), (plain, z * (x.std(1, ddof=1)[:, None] + 1e-5))):
        image, latent = np.nonzero(activations)
        codes = Codes(image, latent, activations[image, latent], 60, per_token.width)
        tokens = Tokens(x, x[:30], labels[:30])
        found.append(targeted_perturbation(made, codes, labels, halves, tokens, (1, 5)))
    assert found[0] == pytest.approx(found[1])
    assert any(found[0].values())


def test_what_tokens_at_one_scale_exclude_is_refused(per_token, tmp_path):
    with pytest.raises(ValueError, match="latents that are linear in tokens; leave relevancy out"):
        Target.of(per_token, np.array([0]))
    with pytest.raises(ValueError, match="fire by a rule, which is not exported"):
        export_saelens(tmp_path / "out" / "sae.safetensors", tmp_path / "lens")
