"""Fetching safely, drawing with equal bytes, and weights that give the original's logits."""

import base64
import contextlib
import hashlib
import io
import json
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from cladescope.backbone.weights import load_checkpoint
from cladescope.emoji.fetch import MEMBER, read_icons, svg_of
from cladescope.emoji.pictures import SIDE, draw_picture, picture_random, rasterise
from cladescope.emoji.tables import Vendor
from cladescope.emoji.weights import NETWORKS, convert_weights, locate_weights, rename

VENDOR = Vendor("v", "train", "@icons/v", "1.0.0", "", "someone", "MIT", "here")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path d="M1 1h2v2z"/></svg>'


@pytest.fixture
def packages(root, monkeypatch):
    """The packages of envs/real.txt on the path."""
    folder = root / ".venv-real"
    if not (folder / "synced").is_file():
        pytest.skip("needs the packages of envs/real.txt, fetched by `make .venv-real/synced`")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return folder


def archive(members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> tuple[bytes, Vendor]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(content), kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    content = file.getvalue()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return content, replace(VENDOR, integrity=f"sha512-{digest}")


def test_icons_come_from_one_member_and_nothing_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    icons = {"prefix": "v", "icons": {"cat": {"body": "<path/>"}}}
    content, vendor = archive({"../outside.json": b"{}", MEMBER: json.dumps(icons).encode()})
    assert read_icons(content, vendor) == icons
    assert list(tmp_path.parent.rglob("outside.json")) == []


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"package/other.json": b"{}"}, tarfile.REGTYPE),
        ({MEMBER: b""}, tarfile.SYMTYPE),
        ({MEMBER: b""}, tarfile.LNKTYPE),
    ],
    ids=["missing", "symbolic link", "hard link"],
)
def test_archive_without_a_plain_file_of_icons_is_refused(members, kind):
    content, vendor = archive(members, kind)
    with pytest.raises(ValueError, match=r"@icons/v@1.0.0 has not one plain file"):
        read_icons(content, vendor)


def test_archive_of_another_hash_is_refused():
    content, vendor = archive({MEMBER: b"{}"})
    with pytest.raises(ValueError, match="not used"):
        read_icons(content + b"\0", vendor)


def test_an_alias_is_followed_and_a_transformed_one_refused():
    icons = {
        "prefix": "v",
        "width": 32,
        "height": 16,
        "icons": {"cat": {"body": "<path/>", "left": 2}},
        "aliases": {"puss": {"parent": "cat"}, "turned": {"parent": "cat", "rotate": 1}},
    }
    assert 'viewBox="2 0 32 16"><path/></svg>' in svg_of(icons, "puss")
    with pytest.raises(ValueError, match="turned is another one transformed"):
        svg_of(icons, "turned")
    with pytest.raises(ValueError, match="no icon dog in v"):
        svg_of(icons, "dog")


def test_rasterising_gives_equal_bytes(packages):
    first, second = rasterise(SVG), rasterise(SVG)
    assert first.tobytes() == second.tobytes()
    # The triangle covers the upper right half of the middle square: an eighth of the area.
    assert np.asarray(first)[..., 3].mean() / 255 == pytest.approx(1 / 8, abs=0.01)
    with pytest.raises(ValueError, match="the icon is empty"):
        rasterise('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"></svg>')


def test_a_picture_depends_on_its_own_stream_alone():
    icon = Image.new("RGBA", (256, 256), (255, 0, 0, 255))

    def draw(*place: int) -> bytes:
        return draw_picture(icon, picture_random(0, "n02121620", *place))[0].tobytes()

    assert draw(0, 0) == draw(0, 0)
    assert len({draw(0, 0), draw(0, 1), draw(1, 0)}) == 3
    picture, mask = draw_picture(icon, picture_random(0, "n02121620", 0, 0))
    assert (picture.size, picture.mode) == ((SIDE, SIDE), "RGB")
    # At its smallest the icon still covers a quarter of the picture.
    red = (np.asarray(picture) == (255, 0, 0)).all(2)
    assert red.mean() > 0.2
    # The mask is where the icon is, and on pixels at its edge that it half covers.
    inside = np.asarray(mask)
    assert (mask.size, set(np.unique(inside))) == ((SIDE, SIDE), {0, 1})
    assert inside[red].all()
    assert inside.sum() < 1.1 * red.sum()


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.model)
def test_converted_weights_give_the_original_networks_logits(packages, tmp_path, network):
    from efficientnet_lite_pytorch import EfficientNet

    checkpoint = locate_weights(network)
    original = EfficientNet.from_name(network.model.removeprefix("tf_").replace("_", "-"))
    original.load_state_dict(torch.load(checkpoint, weights_only=True))
    convert_weights(network, checkpoint, tmp_path / "lite.safetensors")
    model = timm.create_model(network.model)
    from safetensors.torch import load_file

    model.load_state_dict(load_file(tmp_path / "lite.safetensors"))
    side = timm.get_pretrained_cfg(network.model).input_size[-1]
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode(), contextlib.redirect_stdout(io.StringIO()):
        expected, found = original.eval()(images), model.eval()(images)
    assert expected.std() > 0.5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    # As the workflow loads it: without the classifier, and by the hash in the sidecar.
    headless = timm.create_model(network.model, num_classes=0)
    load_checkpoint(headless, network.model, f"{tmp_path}/lite.safetensors")


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.model)
def test_preprocessing_is_that_of_the_original(network):
    """TensorFlow's is (x - 127) / 128 of levels 0..255; timm's differs by less than a level."""
    config = timm.get_pretrained_cfg(network.model)
    levels = np.arange(256)
    mean, std = 255 * np.array([config.mean[0], config.std[0]])
    assert np.abs((levels - mean) / std - (levels - 127) / 128).max() < 1 / 127
    side = {"tf_efficientnet_lite0": 224, "tf_efficientnet_lite2": 260}[network.model]
    assert (config.input_size, config.interpolation) == ((3, side, side), "bicubic")


def test_a_tensor_of_another_network_is_named():
    with pytest.raises(ValueError, match=r"_blocks.3._se_reduce.weight"):
        rename(NETWORKS[0], {"_blocks.3._se_reduce.weight": torch.zeros(1)})
