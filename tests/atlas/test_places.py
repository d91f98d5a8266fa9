"""What the atlas shows of places, against plain readings of the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas_study import LAYERS, make_atlas, make_taxonomy
from cladescope.atlas import places
from cladescope.atlas.chunks import read_chunk
from cladescope.atlas.places import FiringPlaces
from cladescope.atlas.wire import SEGMENTED
from cladescope.codes.positions import Positions
from cladescope.taxonomy.tree import Tree

SHOWN = f"trained/cls/L{LAYERS[-1]}/topk/w20_k4_s0"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Path:
    return make_atlas(tmp_path_factory.mktemp("study"))


def test_latents_of_patches_are_those_of_the_table(atlas) -> None:
    folder = atlas / "dictionaries" / SHOWN
    chunk, nodes = read_chunk(folder / "segmentation.js"), read_chunk(folder / "nodes.js")
    taxonomy = make_taxonomy()
    wnids = [taxonomy.nodes[node] for node in Tree.of(taxonomy).node]
    table = pd.read_parquet(atlas.parent / "segmentation.parquet").set_index("wnid")
    found = [wnids[node] for node in chunk["node"]]
    # Not the sky, which is no class of the images, and not the class that has no number.
    assert {*found} == {*table.index} - {"sky", "n02"} and nodes["segmented"]
    assert chunk["n_images"] == 96
    for row, wnid in enumerate(found):
        expected = table.loc[wnid]
        latent = nodes["width"] if pd.isna(expected["latent"]) else expected["latent"]
        assert (chunk["latent"][row], chunk["patches"][row]) == (latent, expected["patches"])
        for name in SEGMENTED:
            assert chunk[name][row] == np.float32(expected[name])


def test_a_latents_strongest_images_with_places_show_where_it_fires(atlas) -> None:
    """Against a plain reading of every image of the file, one at a time."""
    folder = atlas / "dictionaries" / SHOWN
    nodes, chunk = read_chunk(folder / "nodes.js"), read_chunk(folder / "places_0.js")
    positions = Positions.open(atlas.parent / "positions.parquet")
    n, width, n_images = nodes["images"], nodes["width"], 240
    assert (chunk["images_of_latent"], chunk["rows"], chunk["columns"]) == (n, 4, 4)
    assert nodes["placed"] >= width and chunk["crop"] == 0.9
    images = chunk["images"].reshape(width, n)
    values, relative = chunk["values"].reshape(width, n, 16), chunk["relative"].reshape(width, n)
    strongest = read_chunk(folder / "latents_0.js")["strongest"]
    kept = np.stack([positions.of_image(image).toarray() for image in positions.images])
    top = kept.max(1)
    assert kept.shape == (120, 16, width)
    for latent in range(width):
        fires = np.flatnonzero(top[:, latent])
        known = images[latent] < n_images
        assert known.sum() == min(n, len(fires))
        best = np.sort(top[fires, latent])[::-1][:n]
        rows = images[latent, known] // 2
        np.testing.assert_array_equal(top[rows, latent], best)
        expected = np.rint(255 * kept[rows, :, latent] / best[:, None])
        np.testing.assert_array_equal(values[latent, known], expected)
        np.testing.assert_array_equal(
            relative[latent, known], np.rint(255 * best.astype(float) / strongest[latent])
        )
        assert not values[latent, ~known].any()


def test_chunks_of_places_are_bounded_whatever_the_grid(tmp_path, monkeypatch) -> None:
    values = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
    images, relative = np.array([[5, 9], [1, 2], [9, 9]]), np.full((3, 2), 0.5)
    found = FiringPlaces(images, relative, values, (2, 2), 9)
    monkeypatch.setattr(places, "CHUNK_BYTES", 17)
    assert found.save(tmp_path, None) == 2
    first, second = (read_chunk(tmp_path / f"places_{i}.js") for i in range(2))
    assert not (tmp_path / "places_2.js").exists()
    assert np.concatenate([first["values"], second["values"]]).tolist() == [*range(24)]
    assert second["images"].tolist() == [9, 9]
    monkeypatch.setattr(places, "CHUNK_BYTES", 1)
    assert found.save(tmp_path, None) == 1


def test_where_nothing_is_known_of_places_no_file_says_so(atlas) -> None:
    others = [path for path in atlas.glob("dictionaries/**/nodes.js") if SHOWN not in str(path)]
    assert others
    for path in others:
        assert not {"segmented", "placed"} & read_chunk(path).keys()
        assert {other.name for other in path.parent.iterdir()} == {"nodes.js", "latents_0.js"}
