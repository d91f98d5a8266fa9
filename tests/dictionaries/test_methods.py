"""Variants that the field proposes, beside TopK: gradients, and what each promises."""

import numpy as np
import pytest
import torch

from cladescope.dictionaries.train import fit_dictionary
from cladescope.dictionaries.training.batches import InMemory
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.spec import FitSpec, Recipe
from cladescope.dictionaries.variants import archetypal, hierarchical_topk
from cladescope.dictionaries.variants.aligned import Aligned
from cladescope.dictionaries.variants.archetypal import RELAXATION, Archetypal
from cladescope.dictionaries.variants.hierarchical_topk import HierarchicalTopK
from cladescope.dictionaries.variants.hsae import CHILDREN, HSAE, PARENT_LOSS, SUBSPACE
from cladescope.dictionaries.variants.ortsae import PENALTY, OrtSAE
from cladescope.dictionaries.variants.tied import Tied

RECIPE = Recipe(20_000, 128, 4e-3, 0.05, 0.2, 0.005, 0.05, 1 / 32)
WIDTH, K, D = 32, 4, 16
SPEC = FitSpec(WIDTH, K, 0, RECIPE)
VARIANTS = ("tied", "aligned", "ortsae", "hierarchical_topk", "archetypal", "hsae")


@pytest.fixture(scope="module")
def rows():
    """Sparse combinations of 24 directions in 16 dimensions."""
    random = np.random.default_rng(5)
    directions = random.standard_normal((24, D))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    z = (random.random((2000, 24)) < 0.1) * random.uniform(0.5, 1.5, (2000, 24))
    return (5 * (z @ directions) + 1).astype(np.float32)


@pytest.fixture(scope="module")
def fits(rows):
    return {v: fit_dictionary(v, InMemory(rows), SPEC).dictionary for v in (*VARIANTS, "topk")}


def encoder_and_decoder(sae, leaves):
    """Return both in float64, row by row, from the words at the top of each variant's module."""
    if isinstance(sae, Tied):
        return leaves["decoder"], leaves["decoder"]
    if isinstance(sae, Aligned):
        pairs = zip(leaves["encoder"], leaves["decoder"], strict=True)
        return torch.stack([w + (1 - w @ d) * d for w, d in pairs]), leaves["decoder"]
    if isinstance(sae, Archetypal):
        points = torch.from_numpy(sae.data).double()
        sums = [
            sum(w * point for w, point in zip(weights, points, strict=True)) + rest
            for weights, rest in zip(leaves["weights"], leaves["rest"], strict=True)
        ]
        return leaves["encoder"], torch.stack([row / (row @ row).sqrt() for row in sums])
    if isinstance(sae, HSAE):
        encoder, decoder = [*leaves["encoder"]], [*leaves["decoder"]]
        for j in range(len(leaves["encoder"])):
            for i in range(CHILDREN):
                encoder.append(leaves["down"][j].T @ leaves["child_encoder"][j, i])
                row = leaves["up"][j].T @ leaves["child_decoder"][j, i]
                decoder.append(row / (row @ row).sqrt())
        return torch.stack(encoder), torch.stack(decoder)
    return leaves["encoder"], leaves["decoder"]


def loss_of_row(sae, row, codes, decoder, centre):
    """Return the loss of one row, given the activations of the latents that fire on it."""
    rest = row - centre
    if isinstance(sae, HierarchicalTopK):
        total = 0.0
        for latent in sorted(codes, key=lambda j: -float(codes[j].detach())):
            rest = rest - codes[latent] * decoder[latent]
            total = total + rest.square().mean()
        # Where fewer than k fire, the others add nothing.
        return (total + (K - len(codes)) * rest.square().mean()) / K
    parents = rest
    for latent, z in codes.items():
        rest = rest - z * decoder[latent]
        if latent < WIDTH // (CHILDREN + 1):
            parents = parents - z * decoder[latent]
    extra = PARENT_LOSS * parents.square().mean() if isinstance(sae, HSAE) else 0.0
    return rest.square().mean() + extra


def begun(variant, rows):
    beginning = Beginning.of(rows)
    kinds = {"tied": Tied, "aligned": Aligned, "ortsae": OrtSAE, "hsae": HSAE}
    if variant == "hierarchical_topk":
        kind = hierarchical_topk.begin(beginning, SPEC, 10, 1).stepper.sae.__class__
    elif variant == "archetypal":
        kind = archetypal.begin(beginning, SPEC, 10, 1).stepper.sae.__class__
    else:
        kind = kinds[variant]
    start = kind.begin(beginning, SPEC)
    return kind(start, K), start


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_is_that_of_the_equation_in_float64(variant, rows):
    sae, start = begun(variant, rows)
    x = start.normalise(rows[:48])
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=random)
        sae.constrain()
    target = torch.from_numpy(x)
    pre = sae.pre_activations(target)
    z = sae.activate(pre)
    loss = sae.loss(target, z)
    if (penalty := sae.penalty(pre, z)) is not None:
        loss = loss + penalty
    loss.backward()

    leaves = {n: p.detach().double().requires_grad_() for n, p in sae.named_parameters()}
    encoder, decoder = encoder_and_decoder(sae, leaves)
    total, counts = 0.0, []
    for row, fires in zip(torch.from_numpy(x).double(), z > 0, strict=True):
        centred = row - leaves["decoder_bias"]
        codes = {j: encoder[j] @ centred + leaves["encoder_bias"][j] for j in np.flatnonzero(fires)}
        counts.append(len(codes))
        total = total + loss_of_row(sae, row, codes, decoder, leaves["decoder_bias"]) / len(x)
    assert max(counts) == K
    if variant == "ortsae":
        for i in range(WIDTH):
            cosines = torch.stack([decoder[i] @ decoder[j] for j in range(WIDTH) if j != i])
            total = total + PENALTY / WIDTH * cosines.square().max()
    assert loss.item() == pytest.approx(total.item(), rel=1e-4)
    total.backward()
    for name, leaf in leaves.items():
        found, expected = dict(sae.named_parameters())[name].grad.numpy(), leaf.grad.numpy()
        assert np.abs(expected).max() > 1e-4, name
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=5e-6, err_msg=name)


def test_tied_reads_by_its_decoder(fits):
    assert np.array_equal(fits["tied"].encoder, fits["tied"].decoder)
    assert not np.array_equal(fits["topk"].encoder, fits["topk"].decoder)


def test_aligned_reads_in_full_what_it_writes(fits):
    products = {v: (fits[v].encoder * fits[v].decoder).sum(1) for v in ("aligned", "topk")}
    assert products["aligned"] == pytest.approx(np.ones(WIDTH), abs=1e-5)
    assert np.abs(products["topk"] - 1).max() > 0.1


def test_rows_of_ortsae_are_further_apart(fits):
    nearest = {}
    for variant in ("ortsae", "topk"):
        cosine = fits[variant].decoder @ fits[variant].decoder.T
        np.fill_diagonal(cosine, -1)
        nearest[variant] = np.square(cosine.max(1)).mean()
    assert nearest["ortsae"] < 0.6 * nearest["topk"]


def test_one_training_serves_every_k(rows, fits):
    """The same weights at every k; and with few latents better than what was trained for many."""
    options = {"k_max": K}
    fewer = [
        fit_dictionary("hierarchical_topk", InMemory(rows), FitSpec(WIDTH, k, 0, RECIPE, options))
        for k in (1, 2)
    ]
    for k, fit in zip((1, 2), fewer, strict=True):
        assert fit.dictionary.k == k
        assert np.array_equal(fit.dictionary.decoder, fits["hierarchical_topk"].decoder)
    assert fits["hierarchical_topk"].k == K
    x = fewer[0].dictionary.normalise(rows)
    for fit in fewer:
        found = fit.dictionary
        error = np.square(x - found.decode(found.encode(x))).mean()
        z = fits["topk"].encode(x)
        z[z < np.sort(z, axis=1)[:, -found.k :][:, :1]] = 0
        assert error < np.square(x - fits["topk"].decode(z)).mean()


def test_archetypes_are_near_the_hull_of_the_data(rows):
    learner = archetypal.begin(Beginning.of(rows), SPEC, 156, 1)
    sae, stepper = learner.stepper.sae, learner.stepper
    x = stepper.start.normalise(rows)
    for step in range(60):
        stepper.step(x[step * 30 : step * 30 + 128], 4e-3, np.zeros(WIDTH, bool))
    weights, rest = sae.weights.detach().numpy(), sae.rest.detach().numpy()
    assert weights.min() >= 0
    assert weights.sum(1) == pytest.approx(np.ones(WIDTH), abs=1e-5)
    # It has moved within the hull, and a row has used up its rest.
    assert weights.max(1).min() < 0.95
    norms = np.linalg.norm(rest, axis=1)
    assert norms.max() == pytest.approx(RELAXATION, rel=1e-4)
    expected = weights @ sae.data + rest
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(stepper.finished(iter(()))["decoder"], expected, atol=1e-6)
    assert np.linalg.norm(sae.data, axis=1) == pytest.approx(np.ones(len(sae.data)), abs=1e-5)


def test_points_too_few_for_archetypes_say_so(rows):
    with pytest.raises(ValueError, match="archetypal: 32 latents need as many images"):
        fit_dictionary("archetypal", InMemory(rows[:20]), SPEC)


def test_children_fire_below_their_parents_in_a_subspace_of_few_dimensions(rows, fits):
    subject = fits["hsae"]
    m = subject.parents
    assert (m, subject.k) == (WIDTH // (CHILDREN + 1), K // 2)
    fires = subject.encode(subject.normalise(rows)) > 0
    children = fires[:, m:].reshape(len(rows), m, CHILDREN)
    assert fires.any(0).all()
    assert not (children & ~fires[:, :m, None]).any()
    assert fires.sum(1).max() == K and children.sum(2).max() == 1
    for matrix in (subject.decoder, subject.encoder):
        for of_parent in matrix[m:].reshape(m, CHILDREN, D):
            values = np.linalg.svd(of_parent.astype(np.float64), compute_uv=False)
            assert (values[SUBSPACE:] < 1e-5 * values[0]).all() and values[SUBSPACE - 1] > 1e-3


@pytest.mark.parametrize(("width", "sparsity"), [(36, 4), (32, 10)])
def test_a_width_that_does_not_fit_parents_is_refused(rows, width, sparsity):
    with pytest.raises(ValueError, match=f"hsae: the width {width} must be a multiple of 8"):
        fit_dictionary("hsae", InMemory(rows), FitSpec(width, sparsity, 0, RECIPE))
