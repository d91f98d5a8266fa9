"""Codes with places through Snakemake: kept, shown in the atlas, made anew where they must be."""

import numpy as np

from cladescope.atlas.chunks import read_chunk
from cladescope.codes.codes import Codes
from cladescope.codes.positions import Positions

MADE = {"keep_positions": 1, "chart_dictionary": 2, "draw_thumbnails": 1, "build_atlas": 1}


def test_places_are_kept_and_shown_where_they_are_asked_for(checkout, config) -> None:
    experiment, tokens = config["experiments"]["trained"], {"tokens": ["patches"]}
    experiment["extraction"]["passes"] = [{"layers": [6], **tokens}]
    # Of a sample of the patches, so that places are not the tokens' numbers.
    experiment["extraction"]["patches"] = {"per_image": 9, "seed": 0}
    variants = {"topk": {"width": [48], "sparsity": [4], "seed": [0, 1]}}
    experiment["sweep"] = {"layers": [6], **tokens, "variants": variants}
    config["training"] = {"images": 1024, "batch_size": 256}
    config["atlas"] = {"images": 2}
    checkout.write(config)
    assert "keep_positions" not in checkout.planned()
    config["codes"] = {"positions": {"images": 2}}
    checkout.write(config)
    target = "results/small/atlas/index.html"
    planned = checkout.planned("--", target)
    assert {rule: planned[rule] for rule in MADE} == MADE
    result = checkout.run("--", target)
    assert result.returncode == 0, result.stdout + result.stderr
    folders = [f"patches/L6/topk/w48_k4_s{seed}" for seed in (0, 1)]
    results = checkout.folder / "results" / "small"
    first, second = (results / "trained" / "dictionaries" / folder for folder in folders)
    positions, codes = (
        Positions.open(first / "positions.parquet"),
        Codes.load(first / "codes.parquet"),
    )
    assert (first / ".positions.parquet.seal").is_file()
    assert not (second / "positions.parquet").exists(), "one of a variant, unless they are listed"
    assert len(positions.images) == 128 and positions.grid == (6, 6)
    patches = set()
    for image in positions.images[:5]:
        found = positions.of_image(image)
        patches |= {*found.nonzero()[0].tolist()}
        expected = np.zeros(codes.width, np.float32)
        mine = codes.image == image
        expected[codes.latent[mine]] = codes.activation[mine]
        np.testing.assert_allclose(found.toarray().max(0), expected, rtol=1e-5)
    assert max(patches) > 9
    pages = results / "atlas" / "dictionaries" / "trained"
    assert read_chunk(pages / folders[0] / "places_0.js")["rows"] == 6
    assert not (pages / folders[1] / "places_0.js").exists()
    assert not checkout.planned("--", target)

    config["codes"]["positions"]["images"] = 3
    checkout.write(config)
    planned = checkout.planned("--", target)
    assert {rule: planned[rule] for rule in planned if rule in MADE} == {
        "keep_positions": 1,
        "chart_dictionary": 1,
        "build_atlas": 1,
    }
    assert "encode" not in planned
    del config["codes"]
    checkout.write(config)
    planned = checkout.planned("--", target)
    assert planned["chart_dictionary"] == 1 and "keep_positions" not in planned
