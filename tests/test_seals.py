"""Seals: no flipped bit, cut, swap or loss of what a job has made goes unnoticed."""

import json
import os
import random
import re
import shutil

import pytest

from cladescope import layout
from cladescope.layout import place_in_results
from cladescope.operations.verify import verify_seals
from cladescope.seals import check_seal, check_seals, seal, seal_of, unseal


@pytest.fixture
def results(tmp_path):
    """Two dictionaries' codes and a folder of pages, sealed."""
    for name in ("w48_k2_s0", "w48_k4_s0"):
        folder = tmp_path / "results" / "a" / "dictionaries" / "cls" / "L8" / "topk" / name
        folder.mkdir(parents=True)
        (folder / "codes.parquet").write_bytes(random.Random(name).randbytes(300))
        seal(folder / "codes.parquet")
    pages = tmp_path / "results" / "atlas" / "images" / "planted"
    pages.mkdir(parents=True)
    for name in ("0.json", "1.json"):
        (pages / name).write_text(f'{{"page": "{name}"}}')
    seal(pages)
    return tmp_path / "results"


def codes(results, k=2):
    return results / f"a/dictionaries/cls/L8/topk/w48_k{k}_s0/codes.parquet"


def test_what_is_as_it_was_passes(results):
    check_seals([codes(results), codes(results, 4), results / "atlas/images/planted"], results)


def test_every_bit_counts(results):
    path = codes(results)
    content = path.read_bytes()
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"codes.parquet is not what was sealed.*delete"):
            check_seal(path)


@pytest.mark.parametrize("length", [0, 1, 150, 299])
def test_cuts_are_noticed(results, length):
    os.truncate(codes(results), length)
    with pytest.raises(ValueError, match="not what was sealed"):
        check_seal(codes(results))


def test_bits_of_the_seal_count(results):
    path = seal_of(codes(results))
    content = path.read_bytes()
    unnoticed = 0
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            check_seal(codes(results))
        except ValueError:
            continue
        # White space of JSON: the seal says the same.
        assert json.loads(flipped) == json.loads(content)
        unnoticed += 1
    assert unnoticed < 0.02 * len(content) * 8


def test_files_that_change_places_are_noticed(results):
    """With their seals or without."""
    one, two = codes(results), codes(results, 4)
    content = one.read_bytes()
    shutil.copy(two, one)
    with pytest.raises(ValueError, match="not what was sealed"):
        check_seal(one)
    shutil.copy(seal_of(two), seal_of(one))
    with pytest.raises(ValueError, match=r"has the seal of a/dictionaries/cls/L8/topk/w48_k4_s0"):
        check_seal(one)
    one.write_bytes(content)
    with pytest.raises(ValueError, match="has the seal of"):
        check_seal(one)


def test_folders_have_one_seal(results):
    pages = results / "atlas/images/planted"
    (pages / ".snakemake_timestamp").touch()
    check_seal(pages)
    (pages / "2.json").touch()
    with pytest.raises(ValueError, match=r"planted \(2.json\) is not what was sealed"):
        check_seal(pages)
    (pages / "2.json").unlink()
    (pages / "0.json").unlink()
    with pytest.raises(ValueError, match=r"\(a missing file\)"):
        check_seal(pages)


def test_what_has_no_seal_is_refused_below_the_results_alone(results, tmp_path):
    unseal(codes(results))
    with pytest.raises(ValueError, match=r"has no seal.*cladescope seal"):
        check_seals([codes(results)], results)
    (tmp_path / "labels.csv").touch()
    check_seals([tmp_path / "labels.csv"], results)


def test_verification_knows_which_folders_have_one_seal(results):
    """All that `layout.FOLDERS` names, those of the atlas among them."""
    for pattern in layout.FOLDERS:
        folder = results / re.sub(r"{\w+}", "some", pattern)
        folder.mkdir(parents=True)
        (folder / "inside.js").touch()
        seal(folder)
    assert verify_seals(results) == []
    (results / layout.ATLAS_SHARED / "inside.js").write_text("x")
    (wrong,) = verify_seals(results)
    assert "shared (inside.js) is not what was sealed" in wrong


def test_results_may_move(results, tmp_path):
    results.rename(tmp_path / "elsewhere")
    check_seal(codes(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/x/tables/results/a/probes/cls/L8.parquet", "a/probes/cls/L8.parquet"),
        ("results/a/provenance.json", "a/provenance.json"),
        ("/x/datasets/r/datasets/planted/taxonomy.parquet", "datasets/planted/taxonomy.parquet"),
        ("/x/y/mine.json", "mine.json"),
    ],
)
def test_place_in_the_results(path, place):
    assert place_in_results(path) == place
