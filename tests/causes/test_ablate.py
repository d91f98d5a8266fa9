"""Ablation of oracle latents of models whose every output is known in closed form."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from cladescope.backbone.backbone import Backbone, BackboneSpec, load_backbone
from cladescope.backbone.changing import changed_layer, check_changeable
from cladescope.backbone.layers import Layer
from cladescope.causes.ablate import AblationSpec, Changes, ablate
from cladescope.causes.kinds import MEASURES, REARRANGED
from cladescope.causes.model import HalvesSpec, Model, World
from cladescope.causes.readout import HEAD, Readout
from cladescope.causes.trials import Set
from cladescope.codes.encode import encode
from cladescope.dictionaries.dictionary import Dictionary
from cladescope.images.index import ImageIndex
from cladescope.taxonomy.taxonomy import taxonomy_from_parents

SPEC = AblationSpec(latents=(1, 2), images=20, permuted_draws=2, batch_size=16, seed=0)
PARENTS = {
    "r": [],
    **{"p": ["r"], "q": ["r"], "a": ["p"], "b": ["p"], "c": ["q"], "d": ["q"]},
}
TAXONOMY = taxonomy_from_parents([*"abcd"], PARENTS)
LABELS = np.repeat(np.arange(4), 24)
D = 16


class Linear(nn.Module):
    """Maps of D channels, which are the pixels; their mean, through a linear head."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()
        self.feature_info = []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward_intermediates(self, images):
        raise NotImplementedError

    def forward(self, images):
        return self.second(self.first(images)).mean((2, 3))


@pytest.fixture(scope="module")
def maps():
    """Channel 0 to 3 belong to the classes, 4 and 5 to the nodes; all have noise."""
    random = np.random.default_rng(0)
    found = random.normal(0, 0.05, (len(LABELS), D, 2, 2)) + 0.3
    for row, label in enumerate(LABELS):
        found[row, [label, 4 + label // 2]] += random.uniform(1, 2, (2, 2, 2))
    return found.astype(np.float32)


class Maps(World):
    """Images that are what they are, and nothing is decoded."""

    maps = None

    def pixels(self, backbone, rows):
        return torch.from_numpy(self.maps[rows])


@pytest.fixture(scope="module")
def world(maps):
    paths = np.array([str(row) for row in range(len(LABELS))], np.dtypes.StringDType())
    index = ImageIndex(paths, LABELS.astype(np.int32), [*"abcd"], np.zeros((len(LABELS), 32)))
    made = Maps(index, None, TAXONOMY, HalvesSpec(2, True, 0))
    object.__setattr__(made, "maps", maps)
    return made


@pytest.fixture(scope="module")
def backbone():
    layers = [
        Layer(1, "first", D, {"patches": 4, "mean": 1}, "Linear"),
        Layer(2, "second", D, {}, "Linear"),
    ]
    return Backbone("linear", Linear(), None, layers, "", {})


@pytest.fixture(scope="module")
def head():
    random = np.random.default_rng(1)
    weight = random.normal(0, 0.1, (4, D))
    weight[np.arange(4), np.arange(4)] += 0.7
    weight[np.arange(4), 4 + np.arange(4) // 2] += 2
    bias = torch.tensor([0.1, -0.2, 0.3, 0.0])
    return Readout(HEAD, torch.from_numpy(weight), bias, np.arange(4), 4)


@pytest.fixture(scope="module")
def oracle():
    """A latent for each of the first six channels: classes, then nodes; ten for noise."""
    rows = np.eye(D, dtype=np.float32)
    bias = np.full(D, -0.5, np.float32)
    bias[6:] = 0
    mean = np.full(D, 0.3, np.float32)
    return Dictionary(rows, bias, rows, np.zeros(D, np.float32), mean, scale=0.8)


def ablated(path, dictionary, world, backbone, head, token, spec=SPEC):
    tokens = world.maps.reshape(len(LABELS), D, 4).transpose(0, 2, 1)
    tokens = tokens.mean(1, keepdims=True) if token == "mean" else tokens
    codes, _ = encode(dictionary, [tokens], LABELS)
    ablate(dictionary, codes, world, Model(backbone, (1, token), head), spec, path)
    return pq.read_table(path).to_pandas(), tokens.astype(np.float64)


def closed_form(x, dictionary, head, latents):
    """Probabilities without some latents, in float64, from the tokens; or the node's own."""
    target = (x - dictionary.mean) / dictionary.scale
    z = np.maximum(target @ dictionary.encoder.T.astype(float) + dictionary.encoder_bias, 0)
    removed = z[..., latents] @ dictionary.decoder[latents].astype(float)
    logits = (x - dictionary.scale * removed).mean(1) @ head.weight.numpy().T + head.bias.numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("token", ["mean", "patches"])
def test_oracle_latents_change_what_the_closed_form_says(
    tmp_path, oracle, world, backbone, head, token
):
    table, x = ablated(tmp_path / "a.parquet", oracle, world, backbone, head, token)
    measured = world.parts[1]
    chosen = table[(table["kind"] == "chosen") & (table["n_latents"] == 1)].set_index("name")
    for name, latent, classes in (("p", 4, [0, 1]), ("q", 5, [2, 3])):
        row = chosen.loc[name]
        assert row["latents"].tolist() == [latent]
        mine = np.isin(LABELS, classes)
        p, q = (closed_form(x, oracle, head, latents) for latents in ([], [latent]))
        other = [c for c in range(4) if c not in classes]
        lost = (p - q)[measured & mine][:, classes].sum(1).mean()
        lost_elsewhere = (p - q)[measured & ~mine][:, other].sum(1).mean()
        assert row["delta_in"] == pytest.approx(lost, abs=1e-6) and lost > 0.1
        assert row["selectivity"] == pytest.approx(lost - lost_elsewhere, abs=1e-6)
        a, b = (r[measured & mine][:, classes] for r in (p, q))
        a, b = a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True)
        assert row["within"] == pytest.approx((a * np.log(a / b)).sum(1).mean(), abs=1e-6)
        assert row["evenness"] > 0.95


def test_the_mean_of_a_map_loses_exactly_what_every_position_loses(oracle, world, backbone):
    """And the differences between positions stay."""
    pixels = world.pixels(backbone, np.arange(6))
    copied, sets = np.array([0, 0, 3]), np.array([0, 1, 1])
    changes = Changes(oracle, [Set(()), Set(((0, 0, None), (5, 5, None)))])
    with torch.inference_mode(), changed_layer(backbone, 1, "mean", changes.of(copied, sets)[0]):
        read = backbone.read(pixels, [2], ["patches", "mean"])
    whole = pixels[copied].flatten(2).transpose(1, 2)
    means = pixels.flatten(2).mean(2)[:, None]
    added = torch.from_numpy(changes.added(means.numpy(), copied, sets))
    torch.testing.assert_close(read[2, "mean"], whole.mean(1, keepdim=True) + added)
    torch.testing.assert_close(read[2, "patches"] - whole, added.expand(-1, 4, -1))
    assert (added[0] == 0).all() and (added[1] != 0).any()


def test_random_latents_of_the_same_rate_and_norm_have_no_selectivity(
    tmp_path, world, backbone, head
):
    """Dictionaries of the two nodes' latents and 200 that fire anywhere, each as often."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(202, D)).astype(np.float32)
    rows[:, :6] = 0
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[200:] = np.eye(D, dtype=np.float32)[4:6]
    scale, mean = 0.1, np.full(D, 0.3, np.float32)
    bias = np.zeros(202, np.float32)
    bias[200:] = -5
    dictionary = Dictionary(rows, bias, rows, np.zeros(D, np.float32), mean, scale)
    table, _ = ablated(tmp_path / "a.parquet", dictionary, world, backbone, head, "mean")
    table = table[table["n_latents"] == 1].set_index("kind")
    assert (table.loc["chosen", "latents"].explode() >= 200).all()
    assert (table.loc["chosen", "selectivity"] > 0.1).all()
    assert (table.loc["matched", "selectivity"].abs() < 0.05).all()


def test_a_job_that_dies_leaves_no_half_file_and_is_made_again(
    tmp_path, oracle, world, backbone, head, monkeypatch
):
    path, calls = tmp_path / "a.parquet", []
    whole = Maps.pixels

    def failing(self, backbone, rows):
        calls.append(rows)
        if len(calls) == 30:
            raise OSError("gone")
        return whole(self, backbone, rows)

    monkeypatch.setattr(Maps, "pixels", failing)
    with pytest.raises(OSError, match="gone"):
        ablated(path, oracle, world, backbone, head, "mean")
    assert list(tmp_path.iterdir()) == []
    ablated(path, oracle, world, backbone, head, "mean")
    monkeypatch.undo()
    ablated(tmp_path / "b.parquet", oracle, world, backbone, head, "mean")
    assert path.read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_result_does_not_depend_on_the_batches(tmp_path, oracle, world, backbone, head):
    one, _ = ablated(tmp_path / "a.parquet", oracle, world, backbone, head, "mean")
    spec = replace(SPEC, batch_size=5)
    other, _ = ablated(tmp_path / "b.parquet", oracle, world, backbone, head, "mean", spec)
    for name in MEASURES:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)


def test_a_further_permutation_adds_rows_and_changes_none(tmp_path, oracle, world, backbone, head):
    two, _ = ablated(tmp_path / "a.parquet", oracle, world, backbone, head, "mean")
    spec = replace(SPEC, permuted_draws=1)
    one, _ = ablated(tmp_path / "b.parquet", oracle, world, backbone, head, "mean", spec)
    added = two["draw"] == 2
    assert set(two.loc[added, "kind"]) == {*REARRANGED}
    assert added.sum() == (two["draw"] == 1).sum() == one["kind"].isin(REARRANGED).sum()
    key = ["wnid", "n_latents", "kind"]
    same = two[~added].merge(one, on=key, suffixes=("", "_one"))
    assert len(same) == len(one)
    for name in MEASURES:
        np.testing.assert_allclose(same[name], same[f"{name}_one"], atol=1e-6)


@pytest.fixture(scope="module")
def planted(root):
    checkpoint = str(root / "resources/planted_vit/s0.safetensors")
    return load_backbone(BackboneSpec("vit_planted", checkpoint, 8))


def test_the_class_token_of_the_last_block_goes_through_norm_and_head_alone(planted):
    """x̃ by hand, then timm's own final norm; the patches are untouched."""
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.normal(size=(3, 3, 48, 48)).astype(np.float32))
    rows = random.normal(size=(20, 96)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = Dictionary(
        rows, np.zeros(20, np.float32), rows, np.zeros(96, np.float32), rows[0] * 3, 2.0, k=8
    )
    x = planted.read(pixels, [8], ["cls"])[8, "cls"][:, 0].double().numpy()
    z = made.encode(made.normalise(x)).astype(float)
    latent = int(np.argmax((z > 0).sum(0)))
    changes = Changes(made, [Set(((latent, latent, None),))])
    copied = np.arange(3)
    with (
        torch.inference_mode(),
        changed_layer(planted, 8, "cls", changes.of(copied, np.zeros(3, int))[0]),
    ):
        found = planted.model(pixels)
    without = x - 2.0 * z[:, [latent]] * rows[latent].astype(float)
    norm = planted.model.norm
    expected = (without - without.mean(1, keepdims=True)) / np.sqrt(
        without.var(1, keepdims=True) + norm.eps
    ) * norm.weight.double().numpy() + norm.bias.double().numpy()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("model", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_a_change_of_nothing_leaves_timms_models_as_they_are(model):
    spec = BackboneSpec(model, "random", 4, seed=0)
    try:
        backbone = load_backbone(spec)
    except ValueError as error:
        backbone = load_backbone(replace(spec, blocks=int(str(error).rsplit(" ", 1)[1])))
    size = backbone.preprocessing["input_size"]
    pixels = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    for layer in range(1, len(backbone.layers) + 1):
        check_changeable(backbone, pixels, layer, "mean")


def test_a_module_within_a_branch_is_refused():
    backbone = load_backbone(
        BackboneSpec("test_resnet", "random", 1, seed=0, modules=["layer1.0.conv1"])
    )
    pixels = torch.zeros(2, *backbone.preprocessing["input_size"])
    with pytest.raises(ValueError, match=r"layer 1 \(layer1.0.conv1\) cannot be changed by itself"):
        check_changeable(backbone, pixels, 1, "mean")
