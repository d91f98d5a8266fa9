"""The activation store: written and read back, by us and by plain zarr; damage is found."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cladescope.activations import store as store_module
from cladescope.activations.statistics import Statistics
from cladescope.activations.store import (
    ActivationStore,
    ShardPlan,
    chunk_name,
    read_activations,
    store_files,
)
from cladescope.activations.writer import ActivationWriter, scratch_of
from stores import append, index_of, statistics_of, write


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
    manifest = write(tmp_path_factory.mktemp("s"), values, shards, precision)
    read = read_activations(manifest)
    assert read.dtype == precision
    assert np.array_equal(read, values.astype(precision))
    rows = np.sort(np.random.default_rng(n).integers(0, n, 50))
    assert np.array_equal(ActivationStore.open(manifest).gather(rows), read[rows])


def test_plain_zarr_and_pandas_read_values_ids_and_labels(tmp_path, values):
    positions = np.arange(10, dtype=np.int32)[:, None]
    manifest = write(tmp_path, values, 3, positions=positions)
    group = zarr.open_group(tmp_path / "L3.zarr", mode="r")
    assert np.array_equal(group["values"][:], values)
    assert group["values"].metadata.dimension_names == ("image", "token", "width")
    table = pd.DataFrame({"image": group["image"][:], "label": group["label"][:]})
    table["wnid"] = table["label"].map(dict(enumerate(group.attrs["wnids"])))
    assert table["image"].tolist() == list(range(10))
    assert table["wnid"].tolist() == ["n00000001", "n00000002"] * 5
    assert np.array_equal(group["position"][:], positions)
    assert group.attrs["made_from"] == json.loads(manifest.read_text())["made_from"]


def test_memory_map_reads_the_same(tmp_path, values):
    rows = json.loads(write(tmp_path, values, 3).read_text())["rows_per_shard"]
    chunk = tmp_path / "L3.zarr" / chunk_name(1)
    mapped = np.memmap(chunk, np.float32, "r", shape=(rows, 1, 6))
    assert np.array_equal(mapped, values[rows : 2 * rows])


@pytest.mark.parametrize("sampled", [False, True])
def test_declared_files_are_the_files(tmp_path, values, sampled):
    manifest = write(tmp_path, values, 3, positions=values[:, 0, :1] if sampled else None)
    declared = store_files(str(manifest), 3, sampled)
    found = {str(path) for path in (tmp_path / "L3.zarr").rglob("*") if path.is_file()}
    assert found == {*declared["chunks"], *declared["others"]}
    assert list(tmp_path.glob(".*")) == [], "the scratch folder is gone"


def test_same_values_make_the_same_bytes(tmp_path, values):
    first = write(tmp_path / "a", values, 2)
    second = write(tmp_path / "b", values, 2)
    assert first.read_bytes() == second.read_bytes()
    for path in (first.parent / "L3.zarr").rglob("*"):
        twin = second.parent / path.relative_to(first.parent)
        assert path.is_dir() or path.read_bytes() == twin.read_bytes()


def test_zeros_are_written(tmp_path):
    values = np.zeros((4, 1, 2), np.float32)
    assert np.array_equal(read_activations(write(tmp_path, values, 2)), values)


def test_statistics(tmp_path):
    values = np.random.default_rng(0).standard_normal((200, 3, 6)).astype(np.float32)
    values[17, 1, 4] = -100
    statistics = json.loads(write(tmp_path, values, 3).read_text())["statistics"]
    exact = values.astype(float)
    norms = np.linalg.norm(exact, axis=2)
    assert statistics["rms"] == pytest.approx(np.sqrt(np.mean(exact**2)))
    assert (statistics["max"], statistics["max_dimension"]) == (100, 4)
    assert statistics["mean"] == pytest.approx(exact.mean((0, 1)).tolist())
    assert statistics["mean_norm"] == pytest.approx(np.linalg.norm(exact.mean((0, 1))))
    assert statistics["norm_max"] == pytest.approx(norms.max())
    # Quantiles come from bins a sixteenth of an octave wide.
    assert statistics["norm_median"] == pytest.approx(np.median(norms), rel=2 ** (1 / 16) - 1)
    assert statistics["outlier_share"] == pytest.approx(1 / 600)


def test_statistics_do_not_depend_on_batches(values):
    whole = statistics_of(values)
    parts = statistics_of(values[:3]).merge(statistics_of(values[3:]))
    assert parts.summary()["rms"] == pytest.approx(whole.summary()["rms"])
    assert np.array_equal(parts.norms, whole.norms)
    assert parts.dimension == whole.dimension
    again = Statistics.from_json(json.loads(json.dumps(parts.to_json())))
    assert again.summary() == parts.summary()


def test_finished_shards_are_kept_and_the_others_are_not(tmp_path, values):
    """What a killed job leaves: shard 0 whole, 1 damaged, 2 cut off, 3 of another model."""
    plan = ShardPlan(10, 5)
    for folder in (tmp_path, tmp_path / "other"):
        scratch_of(folder / "L3.json").mkdir(parents=True)
    writer = ActivationWriter(tmp_path / "L3.json", plan, "key")
    for shard in (0, 1, 2):
        append(writer, values, shard)
    append(ActivationWriter(tmp_path / "other" / "L3.json", plan, "other key"), values, 3)
    scratch = tmp_path / ".L3.partial"
    (scratch / "1").write_bytes(bytes(len((scratch / "1").read_bytes())))
    (scratch / "2.json").unlink()
    for name in ("3", "3.json"):
        (tmp_path / "other" / ".L3.partial" / name).rename(scratch / name)
    again = ActivationWriter(tmp_path / "L3.json", plan, "key")
    assert sorted(again.done) == [0]
    assert sorted(path.name for path in scratch.iterdir()) == ["0", "0.json"]
    for shard in (1, 2, 3, 4):
        append(again, values, shard)
    again.finish({"layer": 3}, index_of(10), None)
    assert (tmp_path / "L3.json").read_bytes() == write(tmp_path / "u", values, 5).read_bytes()
    assert np.array_equal(read_activations(tmp_path / "L3.json"), values)


@pytest.mark.parametrize("position", [0, 20, -1])
def test_flipped_byte_is_found_by_us_and_by_zarr(tmp_path, values, position):
    manifest = write(tmp_path, values, 2)
    chunk = tmp_path / "L3.zarr" / chunk_name(1)
    content = bytearray(chunk.read_bytes())
    content[position] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match=r"c/1/0/0 fails its checksum\nrun `make verify"):
        read_activations(manifest)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(tmp_path / "L3.zarr" / "values", mode="r")[:]


def test_shard_of_another_run_is_found(tmp_path, values):
    manifest = write(tmp_path / "a", values, 2)
    other = write(tmp_path / "b", values + 1, 2).parent / "L3.zarr" / chunk_name(0)
    (manifest.parent / "L3.zarr" / chunk_name(0)).write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match="is not the one extracted"):
        read_activations(manifest)


def test_missing_and_truncated_shards_are_all_listed_before_reading(tmp_path, values):
    manifest = write(tmp_path, values, 5)
    chunks = [tmp_path / "L3.zarr" / chunk_name(shard) for shard in range(5)]
    chunks[1].unlink()
    chunks[3].write_bytes(chunks[3].read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"c/1/0/0 is missing\n.*c/3/0/0 has the wrong size"):
        ActivationStore.open(manifest)


def test_empty_shard_is_refused():
    # 9 images in 4 shards of ceil(9 / 4) = 3 rows leave nothing for the fourth.
    with pytest.raises(ValueError, match="nearest valid number is 3"):
        ShardPlan(9, 4)


@pytest.fixture
def stream_store(tmp_path, monkeypatch):
    """A store of 700 rows (350 images of 2 tokens) whose entries number the rows.

    Blocks hold 8 rows and windows 64, so that a pass takes several windows.
    """
    monkeypatch.setattr(store_module, "BLOCK_BYTES", 8 * 3 * 4)
    monkeypatch.setattr(store_module, "WINDOW_BYTES", 64 * 3 * 4)
    values = np.repeat(np.arange(700, dtype=np.float32), 3).reshape(350, 2, 3)
    return ActivationStore.open(write(tmp_path, values, 4))


def test_images_are_gathered_across_shards(stream_store):
    images = np.sort(np.random.default_rng(0).permutation(350)[:120])
    gathered = stream_store.gather(images)
    assert gathered.shape == (120, 2, 3)
    assert np.array_equal(gathered[:, :, 0], np.arange(700).reshape(350, 2)[images])


def take(store, batches, size=50, seed=1, **options):
    stream = store.stream(size, seed, **options)
    taken = [next(stream)[:, 0].copy() for _ in range(batches)]
    stream.close()
    return np.concatenate(taken)


def test_stream_shows_every_row_once_a_pass(stream_store):
    rows = take(stream_store, 28).reshape(2, 700)
    for one_pass in rows:
        assert np.array_equal(np.sort(one_pass), np.arange(700))
    assert not np.array_equal(rows[0], rows[1])


def test_stream_depends_on_the_seed_and_not_on_the_workers(stream_store):
    first = take(stream_store, 20)
    assert np.array_equal(first, take(stream_store, 20, workers=3))
    assert not np.array_equal(first, take(stream_store, 20, seed=2))


@pytest.mark.parametrize("start", [1, 5, 13, 14, 15, 40])
def test_stream_resumes_where_it_was(stream_store, start):
    expected = take(stream_store, start + 6)[start * 50 :]
    assert np.array_equal(take(stream_store, 6, start=start), expected)


def test_stream_mixes_distant_rows(stream_store):
    batch = take(stream_store, 1)
    assert len(np.unique(batch // 8)) > 5, "a batch comes from many blocks"
    assert not np.array_equal(batch, np.sort(batch))


def test_batches_larger_than_a_window(stream_store):
    rows = take(stream_store, 2, size=350)
    assert np.array_equal(np.sort(rows), np.arange(700))
