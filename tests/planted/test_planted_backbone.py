"""The planted world's backbone: plain timm, reproducible, and as good as it says."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

from cladescope.planted import objectives
from cladescope.planted.labelled_images import normalise, read_images
from cladescope.planted.recipes import VIT, Recipe, TrainingSpec
from cladescope.planted.rendering import (
    LEAF_WNIDS,
    PlantedSpec,
    render_image,
    render_split,
    scene_number,
)
from cladescope.planted.training import train_planted_backbone

SHIPPED = Path(__file__).resolve().parents[2] / "resources/planted_vit"
CHECKPOINT, SIDECAR = SHIPPED / "s0.safetensors", SHIPPED / "s0.json"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two training and one evaluation image per class."""
    folder = tmp_path_factory.mktemp("images")
    for split, images_per_class in (("train", 2), ("eval", 1)):
        table = folder / f"{split}.parquet"
        render_split(PlantedSpec(), split, images_per_class, folder / split, table)
    return folder


@pytest.fixture(scope="module")
def backbone():
    return timm.create_model(VIT, checkpoint_path=str(CHECKPOINT), num_classes=64).eval()


def test_the_shipped_backbone_names_leaves_it_never_saw(backbone):
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(backbone))
    unseen = PlantedSpec(seed=1)  # another world's scenes, the same drawings
    hits = []
    for index in range(8):
        batch = torch.stack(
            [
                transform(Image.fromarray(render_image(wnid, unseen, "eval", index).image))
                for wnid in sorted(LEAF_WNIDS)
            ]
        )
        with torch.no_grad():
            hits.append(backbone(batch).argmax(1) == torch.arange(64))
    assert torch.stack(hits).float().mean() >= 0.65


def test_the_sidecar_describes_the_shipped_checkpoint(backbone):
    sidecar = json.loads(SIDECAR.read_text())
    assert sidecar["checkpoint_sha256"] == hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()
    assert sidecar["n_parameters"] == sum(value.numel() for value in backbone.parameters())
    assert sidecar["wnids"] == sorted(LEAF_WNIDS)
    assert sidecar["eval_accuracy"] >= 0.70
    assert sidecar["images"]["train"]["n_images"] == 64 * 300
    assert sidecar["images"]["eval"]["n_images"] == 64 * 100
    assert sidecar["log"][-1]["step"] == sidecar["training"]["steps"]
    assert CHECKPOINT.stat().st_size <= 3_000_000
    weights = load_file(CHECKPOINT)
    assert {value.dtype for name, value in weights.items() if "num_batches" not in name} == {
        torch.float32
    }


def test_timm_knows_how_to_prepare_its_images(backbone):
    config = timm.data.resolve_model_data_config(backbone)
    assert config["input_size"] == (3, 48, 48)
    assert config["crop_pct"] == 1.0
    image = render_image(LEAF_WNIDS[0], PlantedSpec(), "eval", 0).image
    prepared = timm.data.create_transform(**config)(Image.fromarray(image))
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    torch.testing.assert_close(prepared[None], normalise(pixels))


def test_the_backbone_is_a_timm_vision_transformer(backbone):
    assert type(backbone) is timm.models.VisionTransformer
    assert len(backbone.blocks) == 8
    batch = torch.zeros(2, 3, 48, 48)
    with torch.no_grad():
        final, (first, last) = backbone.forward_intermediates(
            batch, indices=[0, 7], return_prefix_tokens=True, output_fmt="NLC"
        )
        torch.testing.assert_close(final, backbone.forward_features(batch))
    assert final.shape == (2, 1 + 36, 96)
    for patches, prefix in (first, last):
        assert patches.shape == (2, 36, 96)
        assert prefix.shape == (2, 1, 96)
    assert timm.create_model(VIT, num_classes=0)(batch).shape == (2, 96)


def test_there_is_nothing_to_download():
    with pytest.raises(RuntimeError, match="checkpoint_path"):
        timm.create_model(VIT, pretrained=True)


def test_training_twice_gives_the_same_bytes(images, tmp_path):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for run in ("first", "second", "other"):
        spec = TrainingSpec(steps=3, batch_size=32, seed=int(run == "other"))
        train_planted_backbone(
            images / "train",
            images / "eval",
            Recipe(training=spec),
            tmp_path / f"{run}.safetensors",
            tmp_path / f"{run}.json",
        )
    first, second, other = (
        ((tmp_path / f"{run}.safetensors").read_bytes(), (tmp_path / f"{run}.json").read_bytes())
        for run in ("first", "second", "other")
    )
    assert first == second
    assert first[0] != other[0]
    assert torch.equal(torch.get_rng_state(), state), "training must leave torch's own stream be"
    sidecar = json.loads(first[1])
    assert sidecar["checkpoint_sha256"] == hashlib.sha256(first[0]).hexdigest()
    assert [entry["step"] for entry in sidecar["log"]] == [3]


def test_labels_follow_the_sorted_wnids_and_the_hash_the_files(images, tmp_path):
    read = read_images(images / "train")
    assert read.wnids == sorted(LEAF_WNIDS)
    assert read.labels.tolist() == [label for label in range(64) for _ in range(2)]
    wnid = read.wnids[5]
    expected = render_image(wnid, PlantedSpec(), "train", scene_number(wnid, 1)).image
    np.testing.assert_array_equal(read.pixels[11].permute(1, 2, 0), expected)

    digest = hashlib.sha256()
    for path in sorted((images / "eval").glob("*/*.png")):
        digest.update(f"{path.parent.name}/{path.name}".encode() + b"\0" + path.read_bytes())
    assert read_images(images / "eval").sha256 == digest.hexdigest()


def test_augmentation_is_seeded_and_keeps_shape():
    pixels = torch.randint(256, (8, 3, 48, 48), dtype=torch.uint8)
    first, second = (
        objectives.augment(pixels, 4, 0.2, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert first.shape == pixels.shape
    varied = objectives.augment(pixels, 0, 0, torch.Generator().manual_seed(0))
    # Without shift or gain only mirroring and the order of channels are left.
    torch.testing.assert_close(
        varied.flatten(1).sort(1).values,
        normalise(pixels).flatten(1).sort(1).values,
    )


def test_bad_image_folders_are_named(images, tmp_path):
    out = (tmp_path / "s.safetensors", tmp_path / "s.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        train_planted_backbone(images / "train", tmp_path / "empty", Recipe(), *out)
    (tmp_path / "one" / "n1").mkdir(parents=True)
    Image.new("RGB", (48, 48)).save(tmp_path / "one" / "n1" / "a.png")
    with pytest.raises(ValueError, match=r"must hold the same classes; .*n1"):
        train_planted_backbone(images / "train", tmp_path / "one", Recipe(), *out)
    Image.new("RGB", (32, 32)).save(tmp_path / "one" / "n1" / "b.png")
    with pytest.raises(ValueError, match=r"b\.png differs in size"):
        read_images(tmp_path / "one")
    with pytest.raises(ValueError, match="a batch of 65 needs"):
        train_planted_backbone(
            images / "eval", images / "eval", Recipe(training=TrainingSpec(batch_size=65)), *out
        )


def test_docs_state_the_accuracy_of_the_shipped_checkpoint(root):
    accuracy = json.loads(SIDECAR.read_text())["eval_accuracy"]
    assert accuracy >= 0.70
    text = (root / "docs" / "planted.md").read_text()
    assert f"It classifies {accuracy:.1%} of the 6,400 evaluation images" in text
