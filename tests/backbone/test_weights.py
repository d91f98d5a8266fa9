"""Checkpoints of the user's: what each may hold, and what is refused by name."""

import os

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import cladescope.planted.network  # noqa: F401  (it registers the model)
from cladescope.backbone.backbone import BackboneSpec, load_backbone
from cladescope.backbone.weights import load_checkpoint

MODEL = "vit_planted"


@pytest.fixture(scope="module")
def shipped(root):
    return load_file(root / "resources" / "planted_vit" / "s0.safetensors")


@pytest.fixture
def load(shipped, tmp_path):
    """Load the shipped weights after a change of every number that is no count."""

    def load(change):
        path = tmp_path / "weights.safetensors"
        changed = {n: change(v) if v.is_floating_point() else v for n, v in shipped.items()}
        save_file(changed, path)
        model = timm.create_model(MODEL, num_classes=0)
        load_checkpoint(model, MODEL, str(path))
        return model.state_dict()

    return load


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_they_are(load, shipped, dtype):
    loaded = load(lambda value: value.to(dtype))
    assert all(
        torch.equal(value, shipped[name].to(dtype).to(value.dtype))
        if value.is_floating_point()
        else torch.equal(value, shipped[name])
        for name, value in loaded.items()
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: (100 * value).to(torch.int8), r"does not fit(.|\n)*cls_token is of int8"),
        (
            lambda value: value * float("nan"),
            r"does not fit(.|\n)*cls_token holds numbers that are",
        ),
        # timm cannot make the positions fit.
        (lambda value: value[None], "cannot be read .*of another model"),
    ],
)
def test_what_is_no_weight_is_named(load, change, said):
    with pytest.raises(ValueError, match=f"weights.safetensors {said}"):
        load(change)


def test_pretrained_weights_without_a_network_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    spec = BackboneSpec("vit_tiny_patch16_224", "pretrained", blocks=12)
    said = (
        "backbone.weights: the pretrained weights of vit_tiny_patch16_224 are not on this machine"
    )
    with pytest.raises(OSError, match=said):
        load_backbone(spec)


@pytest.mark.parametrize("length", [0, 4, 5000])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_what_is_cut_is_named(root, tmp_path, length, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes((root / "resources" / "planted_vit" / "s0.safetensors").read_bytes())
    os.truncate(path, length)
    with pytest.raises(ValueError, match=f"weights.{suffix} cannot be read .*copy it again"):
        load_checkpoint(timm.create_model(MODEL, num_classes=0), MODEL, str(path))
