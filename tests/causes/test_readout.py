"""What a model says of an image, and targeted probe perturbation, against plain loops."""

import numpy as np
import pytest
import torch

from cladescope.backbone.backbone import Classifier
from cladescope.causes.readout import HEAD, Readout, head_readout, probe_readout
from cladescope.causes.tpp import Tokens, targeted_perturbation
from cladescope.codes.codes import Codes
from cladescope.codes.linear import Ridge
from cladescope.dictionaries.dictionary import Dictionary
from stores import write

PUG, DOG, TABBY = "n02110958", "n02084071", "n02123045"


def test_outputs_of_no_class_are_left_out_and_those_of_one_class_are_summed():
    weight = torch.tensor([[1.0], [2.0], [0.5]])
    readout = Readout(HEAD, weight, torch.tensor([0.0, 1.0, 0.0]), np.array([2, 0, 2]), 3)
    logits = np.array([1.0, 3.0, 0.5])
    p = np.exp(logits) / np.exp(logits).sum()
    found = readout.probabilities(torch.ones(1, 1))
    np.testing.assert_allclose(found, [[p[1], 0, p[0] + p[2]]], rtol=1e-12)
    assert readout.named().tolist() == [True, False, True]


def test_a_head_of_as_many_outputs_names_the_classes_in_their_order(root):
    head = head_readout(Classifier(torch.zeros(3, 2), torch.zeros(3)), [*"abc"], root)
    assert head.classes.tolist() == [0, 1, 2]
    assert head_readout(Classifier(torch.zeros(4, 2), torch.zeros(4)), [*"abc"], root) is None
    assert head_readout(None, [*"abc"], root) is None


def test_an_imagenet_head_counts_for_the_nearest_class_at_or_above(root):
    classifier = Classifier(torch.arange(1000.0)[:, None], torch.zeros(1000))
    classes = [DOG, PUG, TABBY, "n00000000"]
    head = head_readout(classifier, classes, root / "resources" / "nltk_data")
    outputs = dict(zip(head.weight[:, 0].int().tolist(), head.classes.tolist(), strict=True))
    # timm's order: 254 pug, 263 and 264 corgis, 281 tabby; 282 is a cat, but no tabby.
    assert [outputs.get(number) for number in (254, 263, 281, 282)] == [1, 0, 2, None]
    # ImageNet's 118 breeds of dogs; the pug counts for itself.
    assert sorted(outputs.values()).count(0) == 117
    assert head.named().tolist() == [True, True, True, False]


def test_a_probe_is_ridge_regression_with_the_likeliest_temperature(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(200) % 4
    x = random.normal(size=(200, 1, 6)).astype(np.float32)
    x[np.arange(200), 0, labels] += 2
    (tmp_path / "train").mkdir()
    (tmp_path / "eval").mkdir()
    manifests = [str(write(tmp_path / split, x, 2)) for split in ("train", "eval")]
    choose = np.arange(200) < 100
    held_out = (manifests[1], labels, choose)
    readout = probe_readout((manifests[0], labels), held_out, 4, (3, "cls"), seed=0)
    ridge = Ridge.fit(x[:, 0], labels, 4, 1e-2)
    scores = ridge.scores(x[:, 0].astype(float))
    ratio = readout.weight.numpy() / ridge.weight.T
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-6)

    def likelihood(temperature):
        p = np.exp(scores / temperature)
        p /= p.sum(1, keepdims=True)
        return np.log(p[choose, labels[choose]]).mean()

    temperature = 1 / ratio[0, 0]
    assert likelihood(temperature) > max(likelihood(temperature * f) for f in (0.8, 1.25))
    p = readout.probabilities(torch.from_numpy(x[:, 0]))
    assert (p.argmax(1).numpy() == labels).mean() > 0.8


@pytest.fixture
def coded():
    """Latents 0 to 3 belong to the classes, 4 to 9 to nothing."""
    random = np.random.default_rng(1)
    labels = np.arange(160) % 4
    rows = np.linalg.qr(random.normal(size=(10, 10)))[0].astype(np.float32)
    z = random.exponential(0.3, (160, 10)) * (random.random((160, 10)) < 0.4)
    z[np.arange(160), labels] += 1
    x = (2.0 * z @ rows + 0.5).astype(np.float32)
    made = Dictionary(
        rows, np.zeros(10, np.float32), rows, np.zeros(10, np.float32), rows[0] * 0 + 0.5, 2.0
    )
    image, latent = np.nonzero(z)
    codes = Codes(image, latent, z[image, latent].astype(np.float32), *z.shape)
    return made, codes, labels, x, z.astype(np.float32)


def test_targeted_perturbation_is_that_of_its_definition(coded):
    made, codes, labels, x, z = coded
    choose = np.arange(160) < 80
    tokens = Tokens(x, x[choose], labels[choose])
    found = targeted_perturbation(made, codes, labels, (choose, ~choose), tokens, (1, 3))
    ridge = Ridge.fit(x[choose], labels[choose], 4, 1e-2)
    scores = ridge.scores(x.astype(float))
    cuts = []
    for j in range(4):
        mine = labels[choose] == j
        cuts.append((scores[choose, j][mine].mean() + scores[choose, j][~mine].mean()) / 2)

    def accuracy(values, j):
        mine = labels[~choose] == j
        guess = values[~choose, j] > cuts[j]
        return (guess[mine].mean() + (~guess[~mine]).mean()) / 2

    for size in (1, 3):
        gaps = []
        for i in range(4):
            lead = z[choose][labels[choose] == i].mean(0) - z[choose].mean(0)
            best = np.argsort(-lead * (made.decoder @ ridge.weight[:, i]))[:size]
            removed = 2.0 * z[:, best] @ made.decoder[best]
            after = ridge.scores((x - removed).astype(float))
            lost = [accuracy(scores, j) - accuracy(after, j) for j in range(4)]
            gaps.append(lost[i] - np.mean([lost[j] for j in range(4) if j != i]))
        assert found[str(size)] == pytest.approx(np.mean(gaps), abs=1e-9)
    assert found["1"] > 0.2
