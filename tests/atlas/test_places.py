"""What the atlas shows of places, against plain readings of the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas_study import LAYERS, make_atlas, make_taxonomy
from cladescope.atlas.chunks import read_chunk
from cladescope.atlas.wire import SEGMENTED
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


def test_where_nothing_is_known_of_places_no_file_says_so(atlas) -> None:
    others = [path for path in atlas.glob("dictionaries/**/nodes.js") if SHOWN not in str(path)]
    assert others and not any("segmented" in read_chunk(path) for path in others)
    assert not any(path.with_name("segmentation.js").exists() for path in others)
