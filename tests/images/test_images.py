import io
import struct
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from cladescope.images.index import (
    ImageIndex,
    check_shared_images,
    common_classes,
    decode_image,
    sha256_of,
)

WNIDS = ["n01440764", "n01443537"]
RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, name: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def pixels(content: bytes) -> np.ndarray:
    image = decode_image(content)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_by_hand(width: int, height: int, bits: int, colours: int, data: bytes) -> bytes:
    """Write what Pillow does not: `data` holds each row behind a zero byte."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def an_index(n: int, **changed) -> ImageIndex:
    fields = {
        "paths": np.array([f"a/{i}.png" for i in range(n)], np.dtypes.StringDType()),
        "labels": np.arange(n, dtype=np.int32) % 2,
        "wnids": WNIDS,
        "sha256": np.frombuffer(b"".join(sha256_of(bytes([i])) for i in range(n)), np.uint8),
    }
    fields["sha256"] = fields["sha256"].reshape(n, 32)
    return ImageIndex(**fields | changed)


# The index


@pytest.mark.parametrize("spans", [None, np.arange(10).reshape(5, 2) * 2**40])
def test_index_round_trip(tmp_path, spans):
    index = an_index(5, spans=spans)
    index.save(tmp_path / "a.parquet")
    loaded = ImageIndex.load(tmp_path / "a.parquet")
    assert loaded.paths.tolist() == index.paths.tolist()
    assert loaded.paths[4] == "a/4.png"
    assert loaded.wnids == WNIDS
    assert np.array_equal(loaded.labels, index.labels)
    assert np.array_equal(loaded.sha256, index.sha256)
    assert (loaded.spans is None) if spans is None else np.array_equal(loaded.spans, spans)


def test_index_is_a_plain_table(tmp_path):
    an_index(3, spans=np.array([[512, 7], [1536, 8], [2560, 9]])).save(tmp_path / "a.parquet")
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert rows[1] == {
        "image_id": 1,
        "path": "a/1.png",
        "wnid": WNIDS[1],
        "label": 1,
        "sha256": sha256_of(b"\x01"),
        "offset": 1536,
        "size": 8,
    }


def test_index_of_imagenet_can_be_compared_by_content(tmp_path):
    """Snakemake compares inputs of up to 100 MB by content; ImageNet has 1,281,167 images."""
    n = 50_000
    rng = np.random.default_rng(0)
    index = ImageIndex(
        paths=np.array(
            [f"n{i // 50:08d}/n{i // 50:08d}_{rng.integers(30_000)}.JPEG" for i in range(n)],
            np.dtypes.StringDType(),
        ),
        labels=(np.arange(n) // 50).astype(np.int32),
        wnids=[f"n{i:08d}" for i in range(n // 50)],
        sha256=rng.integers(0, 256, (n, 32), dtype=np.uint8),
        spans=np.cumsum(rng.integers(50_000, 200_000, (n, 2)), 0),
    )
    index.save(tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size * 1_281_167 / n < 100e6


def test_splits_must_share_their_classes():
    index = an_index(4)
    other = an_index(1, wnids=WNIDS[:1])
    assert common_classes({"train": index, "eval": index}) == WNIDS
    with pytest.raises(ValueError, match=f"split eval has no images of {WNIDS[1]}"):
        common_classes({"train": index, "eval": other})


# Decoding. Every case of docs/images.md.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(name, orientation):
    # Stored so that, as EXIF defines it, the bright quarter of the upright image is the top left.
    row_of_stored_corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0)}
    row_of_stored_corner |= {5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    row, column = row_of_stored_corner[orientation]
    # Upright: 16 high, 32 wide. Orientations 5 to 8 are stored on their side.
    stored = np.zeros((16, 32) if orientation < 5 else (32, 16), np.uint8)
    height, width = stored.shape
    stored[
        row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2
    ] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright = pixels(encoded(Image.fromarray(stored).convert("RGB"), name, exif=exif))
    assert upright.shape == (16, 32, 3)
    bright = upright[..., 0] > 128
    assert bright[:8, :16].mean() > 0.95
    assert bright.mean() < 0.3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0", b"no TIFF header"])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_leaves_the_image_as_stored(name, exif):
    content = encoded(Image.new("RGB", (32, 16), RED), name, exif=b"Exif\0\0" + exif)
    assert pixels(content).shape == (16, 32, 3)


def test_greyscale():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(pixels(encoded(Image.fromarray(levels))), np.dstack([levels] * 3))


def test_one_bit():
    image = Image.fromarray(np.eye(8, dtype=bool))
    assert image.mode == "1"
    assert np.array_equal(pixels(encoded(image))[..., 2], np.eye(8) * 255)


def test_palette():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    assert pixels(encoded(image)).tolist() == [[[0, 0, 0], list(RED)]]


def test_cmyk():
    # Cyan and yellow at full strength are green.
    found = pixels(encoded(Image.new("CMYK", (16, 16), (255, 0, 255, 0)), "JPEG", quality=95))
    assert np.abs(found.astype(int) - [0, 255, 0]).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(mode):
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 51))
    found = pixels(encoded(image.convert(mode)))
    # 255 - 51 = 204: a fifth of black over white.
    assert found[0, :, 0].tolist() == [255, 204, 0]


def test_transparent_palette_entry_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    content = encoded(image, transparency=0)
    assert pixels(content).tolist() == [[list(WHITE), list(RED)]]


@pytest.mark.parametrize("name", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(name):
    levels = np.array([[0, 128, 129, 257, 1000, 32768, 65534, 65535]], np.uint16)
    found = pixels(encoded(Image.fromarray(levels), name))
    # Nearest multiple of 257: 128 / 257 < 0.5 < 129 / 257.
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 4, 128, 255, 255]
    assert (found[..., 0] == found[..., 2]).all()


def test_big_endian_sixteen_bits():
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257 * 3, 257 * 200))
    assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() == [3, 200]


def test_sixteen_bits_per_colour_keep_the_high_byte():
    data = b"\0" + struct.pack(">HHH", 0x10FF, 0x8000, 0xFFFF)
    assert pixels(png_by_hand(1, 1, bits=16, colours=2, data=data)).tolist() == [[[16, 128, 255]]]


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.array([[0.0, 0.5]], np.float32)),
        Image.fromarray(np.array([[0, 70_000]], np.int32)),
        Image.fromarray(np.array([[0, -1]], np.int32)),
    ],
    ids=["float", "beyond 16 bits", "negative"],
)
def test_values_without_a_defined_range_are_bad(image):
    with pytest.raises(ValueError, match=r"does not decode \(mode [FI] with values from"):
        decode_image(encoded(image, "TIFF"))


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(name):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 0, 255))]
    options = {"lossless": True} if name == "WEBP" else {}
    content = encoded(frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert (pixels(content) == RED).all()


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_truncated(name):
    rng = np.random.default_rng(0)
    content = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), name)
    decode_image(content)
    with pytest.raises(ValueError, match="does not decode"):
        decode_image(content[: len(content) * 2 // 3])


def test_empty_file():
    with pytest.raises(ValueError, match="the file is empty"):
        decode_image(b"")


def test_no_image_gives_the_same_reason_every_time():
    reasons = set()
    for _ in range(2):
        with pytest.raises(ValueError, match="none of the formats JPEG") as error:
            decode_image(b"not an image")
        reasons.add(str(error.value))
    assert len(reasons) == 1


def test_decompression_bomb():
    """A PNG of a few bytes that claims 60000 x 60000 pixels."""
    content = png_by_hand(60_000, 60_000, bits=1, colours=0, data=b"")
    with pytest.raises(ValueError, match=r"exceeds limit .* decompression bomb"):
        decode_image(content)


def test_postscript_is_not_run():
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ValueError, match="none of the formats"):
        decode_image(content)


def test_one_class_is_refused():
    index = ImageIndex(
        np.array(["a.png"], np.dtypes.StringDType()), np.zeros(1, np.int32), ["n1"], hashes([0])
    )
    with pytest.raises(ValueError, match="all images are of the class n1"):
        common_classes({"train": index, "eval": index})


def hashes(numbers):
    return np.array([[number] * 32 for number in numbers], np.uint8)


def test_images_of_both_splits_are_counted_and_refused_on_request(caplog):
    def index(*numbers):
        paths = np.array([f"{number}.png" for number in numbers], np.dtypes.StringDType())
        return ImageIndex(paths, np.zeros(len(numbers), np.int32), ["n1"], hashes(numbers))

    check_shared_images(index(1, 2, 3), index(4, 5), "fail")
    assert not caplog.records
    check_shared_images(index(1, 2, 3), index(4, 3, 2), "warn")
    said = "2 of 3 evaluation images are training images, too, such as 3.png"
    assert said in caplog.text
    with pytest.raises(ValueError, match=said):
        check_shared_images(index(1, 2, 3), index(4, 3, 2), "fail")
