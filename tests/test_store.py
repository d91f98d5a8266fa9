import json
import math

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cladescope.store import ActivationWriter, ShardPlan, chunk_path, read_activations


def write(folder, values, n_shards, precision="float32"):
    plan = ShardPlan(len(values), n_shards)
    writer = ActivationWriter(folder / "L3.zarr", plan, *values.shape[1:], precision)
    for shard in range(n_shards):
        rows = plan.rows(shard)
        writer.write_shard(shard, values[rows.start : rows.stop])
    writer.finish(folder / "L3.json", {"layer": 3})
    return folder / "L3.json"


@pytest.fixture
def values():
    return np.random.default_rng(0).standard_normal((10, 1, 6)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_round_trip(tmp_path_factory, data):
    n = data.draw(st.integers(1, 30))
    shards = data.draw(
        st.integers(1, n).filter(lambda s: math.ceil(n / s) * (s - 1) < n), label="shards"
    )
    precision = data.draw(st.sampled_from(["float16", "float32"]))
    values = np.random.default_rng(n).standard_normal((n, 2, 3)).astype(np.float32)
    read = read_activations(write(tmp_path_factory.mktemp("s"), values, shards, precision))
    assert read.dtype == precision
    assert np.array_equal(read, values.astype(precision))


def test_plain_zarr_and_memmap_read_the_same(tmp_path, values):
    manifest = write(tmp_path, values, 3)
    assert np.array_equal(zarr.open_array(tmp_path / "L3.zarr", mode="r")[:], values)
    rows = json.loads(manifest.read_text())["rows_per_shard"]
    mapped = np.memmap(tmp_path / chunk_path("L3.zarr", 1), np.float32, "r", shape=(rows, 1, 6))
    assert np.array_equal(mapped, values[rows : 2 * rows])


def test_same_values_make_the_same_bytes(tmp_path, values):
    first = write(tmp_path / "a", values, 2)
    second = write(tmp_path / "b", values, 2)
    assert first.read_bytes() == second.read_bytes()
    for name in ("L3.zarr/zarr.json", chunk_path("L3.zarr", 0), chunk_path("L3.zarr", 1)):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()


def test_zeros_are_written(tmp_path):
    values = np.zeros((4, 1, 2), np.float32)
    assert np.array_equal(read_activations(write(tmp_path, values, 2)), values)


def test_statistics(tmp_path, values):
    statistics = json.loads(write(tmp_path, values, 3).read_text())["statistics"]
    assert statistics["rms"] == pytest.approx(np.sqrt(np.mean(values.astype(float) ** 2)))
    assert statistics["max"] == np.abs(values).max()
    assert statistics["mean_norm"] == pytest.approx(
        np.linalg.norm(values.astype(float).mean((0, 1)))
    )


@pytest.mark.parametrize("position", [0, 100, -1])
def test_flipped_byte_is_found_by_us_and_by_zarr(tmp_path, values, position):
    manifest = write(tmp_path, values, 2)
    chunk = tmp_path / chunk_path("L3.zarr", 1)
    content = bytearray(chunk.read_bytes())
    content[position] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match=r"fails its checksum; delete .*L3.json and run"):
        read_activations(manifest)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(tmp_path / "L3.zarr", mode="r")[:]


def test_shard_of_another_run_is_found(tmp_path, values):
    manifest = write(tmp_path / "a", values, 2)
    other = write(tmp_path / "b", values + 1, 2).parent / chunk_path("L3.zarr", 0)
    (manifest.parent / chunk_path("L3.zarr", 0)).write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match="is not the one extracted"):
        read_activations(manifest)


def test_truncated_shard(tmp_path, values):
    manifest = write(tmp_path, values, 2)
    chunk = tmp_path / chunk_path("L3.zarr", 0)
    chunk.write_bytes(chunk.read_bytes()[:-8])
    with pytest.raises(ValueError, match="c/0/0/0 has the wrong size"):
        read_activations(manifest)


def test_missing_shard(tmp_path, values):
    manifest = write(tmp_path, values, 2)
    (tmp_path / chunk_path("L3.zarr", 1)).unlink()
    with pytest.raises(FileNotFoundError, match="c/1/0/0 is missing"):
        read_activations(manifest)


@pytest.mark.parametrize("bad", [7e4, np.inf, np.nan])
def test_overflow_names_the_image_and_the_value(tmp_path, values, bad):
    values[7, 0, 2] = bad
    with pytest.raises(ValueError, match=rf"L3.zarr: image 7, token 0 has the value {bad}"):
        write(tmp_path, values, 2, "float16")
    assert not (tmp_path / "L3.json").exists()


def test_empty_shard_is_refused():
    # 9 images in 4 shards of ceil(9 / 4) = 3 rows leave nothing for the fourth.
    with pytest.raises(ValueError, match="nearest valid number is 3"):
        ShardPlan(9, 4)
