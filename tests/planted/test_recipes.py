"""The family of backbones of the planted world: shipped, plain timm, with labels and without."""

import hashlib
import json
import subprocess
import sys

import pytest
import timm
import torch
from PIL import Image

from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.planted import network
from cladescope.planted.labelled_images import normalise
from cladescope.planted.objectives import LeafLabels, TwoViews, view
from cladescope.planted.recipes import RECIPES, Recipe, TrainingSpec, ViewSpec, recipe_of
from cladescope.planted.rendering import LEAF_WNIDS, PlantedSpec, render_image
from cladescope.planted.training import train_planted_backbone

KINDS = {
    "vit": timm.models.VisionTransformer,
    "vit_unlabelled": timm.models.VisionTransformer,
    "convnext": timm.models.ConvNeXt,
    "swin": timm.models.SwinTransformer,
}
LAYERS = {"vit": 8, "vit_unlabelled": 8, "convnext": 4, "swin": 3}


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_weights_are_those_of_their_recipe_and_of_timm(root, name):
    stem = root / "resources" / f"planted_{name}" / "s0"
    checkpoint = stem.with_suffix(".safetensors")
    sidecar = json.loads(stem.with_suffix(".json").read_text())
    assert checkpoint.stat().st_size <= 3_000_000
    assert sidecar["checkpoint_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    recipe = RECIPES[name]
    assert sidecar["model"] == recipe.model
    assert sidecar["training"] == {**vars(recipe.training), "threads": 1}
    assert ("views" in sidecar) == (recipe.views is not None)
    backbone = load_backbone(BackboneSpec(recipe.model, str(checkpoint), LAYERS[name]))
    assert type(backbone.model) is KINDS[name]
    assert "mean" in backbone.layers[0].tokens


def test_without_labels_views_of_an_image_are_alike_and_others_are_not(root):
    path = root / "resources/planted_vit_unlabelled/s0.safetensors"
    model = load_backbone(BackboneSpec(RECIPES["vit_unlabelled"].model, str(path), 8)).model
    world = PlantedSpec(seed=1)  # scenes that it has not seen
    pixels = torch.stack(
        [
            torch.from_numpy(render_image(wnid, world, "eval", 0).image.transpose(2, 0, 1).copy())
            for wnid in sorted(LEAF_WNIDS)
        ]
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        first, second = (
            torch.nn.functional.normalize(model(view(pixels, ViewSpec(), generator)), dim=1)
            for _ in range(2)
        )
    known = (first @ second.T).argmax(1) == torch.arange(64)
    # By chance one in 64.
    assert known.float().mean() >= 0.5


def test_the_loss_of_two_views_by_hand():
    """Three pairs: partners agree with cosine 1, all others are at right angles.

    At temperature .5 each row's logits are 2 for its partner and 0 for four others:
    log(e² + 4) − 2.
    """
    views = TwoViews(timm.create_model("vit_planted", num_classes=0), ViewSpec(temperature=0.5))
    projected = torch.eye(3).repeat(2, 1) * torch.tensor([[1.0], [2], [3], [4], [5], [6]])
    outcome = views._compare(projected)
    expected = torch.log(torch.exp(torch.tensor(2.0)) + 4) - 2
    torch.testing.assert_close(outcome.loss, expected)
    assert outcome.accuracy == 1
    swapped = projected[[0, 1, 2, 4, 3, 5]]
    assert views._compare(swapped).accuracy == pytest.approx(1 / 3)


def test_labels_do_not_reach_training_without_labels():
    torch.manual_seed(0)
    model = timm.create_model("vit_planted.unlabelled", num_classes=0)
    views, labels = TwoViews(model, ViewSpec()), torch.arange(4)
    pixels = torch.randint(256, (4, 3, 48, 48), dtype=torch.uint8)
    # Batch statistics of the stem would drift from call to call.
    model.eval()
    losses = {
        views(model, pixels, given, torch.Generator().manual_seed(1)).loss.item()
        for given in (labels, labels.flip(0))
    }
    assert len(losses) == 1


def test_a_view_that_changes_nothing_permutes_channels_at_most():
    still = ViewSpec(rotation=0, scales=(1, 1), shift=0, gains=0)
    pixels = torch.randint(256, (6, 3, 48, 48), dtype=torch.uint8)
    seen = view(pixels, still, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        seen.flatten(1).sort(1).values, normalise(pixels).flatten(1).sort(1).values
    )
    grey = normalise(pixels).sum(1)
    is_same = torch.isclose(seen.sum(1), grey, atol=1e-4).flatten(1).all(1)
    is_mirrored = torch.isclose(seen.sum(1), grey.flip(2), atol=1e-4).flatten(1).all(1)
    assert (is_same ^ is_mirrored).all() and is_same.any() and is_mirrored.any()


def test_models_without_a_class_token_have_one_head():
    swin = timm.create_model("swin_planted", num_classes=5)
    assert LeafLabels(swin, 5, 4, 0.2).patch_head is None
    assert sorted(name for name, _ in LeafLabels(swin, 5, 4, 0.2).named_parameters()) == []


@pytest.mark.parametrize("name", ["vit_unlabelled", "convnext", "swin"])
def test_training_twice_gives_the_same_bytes(tmp_path, name):
    """On four images of two classes."""
    for number, wnid in enumerate(sorted(LEAF_WNIDS)[:2]):
        (tmp_path / "images" / wnid).mkdir(parents=True)
        for index in range(2):
            image = render_image(wnid, PlantedSpec(), "train", 2 * number + index).image
            Image.fromarray(image).save(tmp_path / "images" / wnid / f"{index}.png")
    recipe = recipe_of(name, seed=3)
    recipe = Recipe(recipe.model, TrainingSpec(steps=2, batch_size=4, seed=3), recipe.views)
    made = []
    for run in ("first", "second"):
        weights, sidecar = tmp_path / f"{run}.safetensors", tmp_path / f"{run}.json"
        train_planted_backbone(*[tmp_path / "images"] * 2, recipe, weights, sidecar)
        made.append((weights.read_bytes(), sidecar.read_bytes()))
    assert made[0] == made[1]
    assert json.loads(made[0][1])["training"]["seed"] == 3


@pytest.mark.parametrize("name", ["vit_planted", "convnext_planted", "swin_planted"])
def test_there_is_nothing_to_download(name):
    assert name in network.__all__
    with pytest.raises(RuntimeError, match=f"{name} has no pretrained weights"):
        timm.create_model(name, pretrained=True)


def test_recipes_are_read_without_torch():
    code = "import cladescope.planted.recipes, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
