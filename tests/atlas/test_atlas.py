"""What the atlas's chunks say, against slow and plain computations of the same."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from atlas_study import (
    HARM,
    LAYERS,
    MAPPED,
    SPEC,
    STUDY_SPEC,
    make_atlas,
    make_codes,
    make_index,
    make_taxonomy,
)
from cladescope.atlas.chunks import read_chunk, smallest, write_chunk
from cladescope.atlas.latents import (
    Firing,
    class_counts,
    false_alarms,
    histograms,
    images_by_band,
    misses,
    neighbours,
)
from cladescope.atlas.places import crop_of
from cladescope.atlas.site import describe_tree
from cladescope.atlas.wire import (
    BESIDE,
    BINS,
    EXAMPLES,
    LATENT_SCORES,
    LATENTS,
    LISTS,
    MAP_MEASURES,
    NODES,
    PAIR_EXAMPLES,
    RECURRENCE,
    describe,
)
from cladescope.codes.codes import Codes
from cladescope.codes.ranking import strongest_first
from cladescope.scores.score import score_dictionary
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.taxonomy.tree import Tree


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Path:
    return make_atlas(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def codes() -> Codes:
    """Random, with latents that fire on none, on few and on many images."""
    random = np.random.default_rng(1)
    share = np.array([0, 0.02, 0.1, 0.5, 0.9])
    fires = random.random((200, 5)) < share
    image, latent = np.nonzero(fires)
    # Coarse, so that there are ties.
    activation = np.ceil(10 * random.random(len(image))).astype(np.float32)
    return Codes(image.astype(np.int32), latent.astype(np.int32), activation, 200, 5)


def ranked(codes: Codes, latent: int) -> list[tuple[int, float]]:
    """Images of a latent, strongest first."""
    order = strongest_first(codes, 0)
    mine = order.latent == latent
    return [*zip(order.image[mine].tolist(), order.activation[mine].tolist(), strict=True)]


def test_chunks_come_back_and_hold_no_code(tmp_path):
    values = {
        "a": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "b": np.array([1.5, np.nan], np.float32),
        "text": f"</script>{HARM}\u2028",
        "list": [1, None, "x"],
    }
    write_chunk(tmp_path / "chunk.js", **values)
    back = read_chunk(tmp_path / "chunk.js")
    assert back["a"].tolist() == list(range(6)) and back["a"].dtype == np.uint16
    assert np.array_equal(back["b"], values["b"], equal_nan=True)
    assert (back["text"], back["list"]) == (values["text"], values["list"])
    written = (tmp_path / "chunk.js").read_text()
    assert written.isascii() and written.count("\n") == 1
    with pytest.raises(TypeError, match="float64"):
        write_chunk(tmp_path / "other.js", a=np.zeros(2))
    with pytest.raises(ValueError, match="JSON"):
        write_chunk(tmp_path / "other.js", a=float("nan"))
    assert not (tmp_path / "other.js").exists()
    (tmp_path / "chunk.js").write_text("alert(1)")
    with pytest.raises(ValueError, match=r"chunk\.js is no chunk"):
        read_chunk(tmp_path / "chunk.js")


@pytest.mark.parametrize(("largest", "dtype"), [(255, "uint8"), (256, "uint16"), (2**16, "uint32")])
def test_whole_numbers_take_as_few_bytes_as_they_need(largest, dtype):
    assert smallest(np.array([0, largest]), largest).dtype == dtype
    assert smallest(np.array([0, largest]), largest).tolist() == [0, largest]


def test_images_span_the_whole_range(codes):
    firing = Firing.of(codes, 0)
    images, relative = images_by_band(firing, 4)
    assert images.shape == (5, 20)
    for latent in range(5):
        order = ranked(codes, latent)
        n = len(order)
        strongest = [image for image, _ in order[:4]]
        assert images[latent, : len(strongest)].tolist() == strongest
        for quarter in range(4):
            inside = {image for image, _ in order[n * quarter // 4 : n * (quarter + 1) // 4]}
            shown = images[latent, 4 * (quarter + 1) : 4 * (quarter + 2)]
            known = shown[shown < 200].tolist()
            assert len(known) == len(set(known)) == min(4, len(inside))
            assert set(known) <= inside
        value = dict(order)
        for image, share in zip(images[latent], relative[latent], strict=True):
            assert share == (pytest.approx(value[image] / order[0][1]) if image < 200 else 0)


def test_histogram_counts_every_image_once(codes):
    firing = Firing.of(codes, 0)
    under = firing.image % 3 == 0
    counts = histograms(firing, under)
    for latent in range(5):
        order = ranked(codes, latent)
        expected = np.zeros((2, BINS), int)
        for image, activation in order:
            share = np.float32(activation) / np.float32(order[0][1])
            expected[int(image % 3 != 0), min(int(share * BINS), BINS - 1)] += 1
        assert counts[latent].tolist() == expected.tolist()


def test_false_alarms_and_misses(codes):
    labels = np.arange(200) % 4
    covers = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], bool)
    node = np.array([-1, 0, 0, 1, 1])
    firing = Firing.of(codes, 0)
    wide = np.column_stack([covers, np.zeros(4, bool)])
    alarms = false_alarms(firing, wide[labels[firing.image], node[firing.latent]], 3)
    count, missed = misses(firing, node, labels, covers, 3)
    for latent in range(5):
        order = [image for image, _ in ranked(codes, latent)]
        under = set() if node[latent] < 0 else {*np.flatnonzero(covers[labels, node[latent]])}
        outside = [image for image in order if image not in under][:3]
        assert [i for i in alarms[latent].tolist() if i < 200] == outside
        silent = under - set(order)
        assert count[latent] == len(silent)
        shown = [i for i in missed[latent].tolist() if i < 200]
        assert len(shown) == len({*shown}) == min(3, len(silent)) and {*shown} <= silent


def test_class_counts_keep_the_largest(codes):
    labels = np.arange(200) % 7
    lists = class_counts(Firing.of(codes, 0), labels, 7, 3)
    for latent in range(5):
        size = np.bincount(labels[codes.image[codes.latent == latent]], minlength=7)
        order = sorted((c for c in range(7) if size[c]), key=lambda c: (-size[c], c))[:3]
        rows = slice(lists.start[latent], lists.start[latent + 1])
        assert lists.item[rows].tolist() == order
        assert lists.value[rows].tolist() == [size[c] for c in order]


def test_neighbours_are_the_nearest_others(monkeypatch):
    monkeypatch.setattr("cladescope.codes.linear.BLOCK_ROWS", 5)
    decoder = np.random.default_rng(0).normal(size=(12, 4))
    decoder[3] = 0
    near, cosine = neighbours(decoder, 3)
    length = np.linalg.norm(decoder, axis=1)
    for latent in range(12):
        if latent == 3:
            assert np.all(cosine[latent] == 0)
            continue
        with np.errstate(invalid="ignore"):
            angle = np.nan_to_num(decoder @ decoder[latent] / (length * length[latent]))
        angle[latent] = -2
        assert near[latent].tolist() == np.argsort(-angle, kind="stable")[:3].tolist()
        assert cosine[latent] == pytest.approx(angle[near[latent]])
    alone, _ = neighbours(np.ones((1, 4)), 3)
    assert alone.shape == (1, 0)


def test_a_node_hangs_under_its_deepest_parent():
    taxonomy = make_taxonomy()
    tree = describe_tree(taxonomy, np.arange(12), None)
    at = {wnid: i for i, wnid in enumerate(tree["wnid"])}
    # n11 lies under pair5 (n10, n11) and under pair0 (n00, n01, n11), equally deep: the smaller.
    assert [tree["wnid"][p] for p in tree["parents"][at["n11"]]] == ["pair5", "pair0"]
    assert tree["parents"][at["all"]] == []
    # x lies under a (deep, large) and b (shallow, small); "a" and "c" have the same classes.
    leaves = ["x", "y", "z"]
    parents = {"x": ["a", "b"], "y": ["a"], "z": ["root"], "a": ["c"], "c": ["root"], "b": ["root"]}
    other = describe_tree(taxonomy_from_parents(leaves, parents | {"root": []}), np.arange(3), None)
    names = other["wnid"]
    assert names[other["parents"][names.index("x")][0]] == "a"
    assert other["aliases"][names.index("a")] == ["c"]
    members = tree["members"][tree["members_start"][at["pair0"]] :][:3]
    assert members.tolist() == [0, 1, 11]
    assert [tree["wnid"][node] for node in tree["class_node"]] == list(taxonomy.leaves)


def test_pages_agree_with_the_tables(atlas):
    folder = atlas / "dictionaries" / "trained" / "cls" / f"L{LAYERS[-1]}" / "topk" / "w20_k4_s0"
    nodes, block = read_chunk(folder / "nodes.js"), read_chunk(folder / "latents_0.js")
    taxonomy, tree = make_taxonomy(), Tree.of(make_taxonomy())
    index = read_chunk(atlas / "shared" / "datasets" / "shapes" / "tree.js")
    codes = make_codes(taxonomy, index["labels"], 0.7 / LAYERS[-1], 10 * LAYERS[-1])
    assert nodes["width"] == codes.width and nodes["mapped"] == list(MAPPED)
    assert [("dead", "rare", "scored")[s] for s in block["status"][-2:]] == ["rare", "dead"]
    assert block["n_firing"].tolist() == np.bincount(codes.latent, minlength=codes.width).tolist()
    wnid = np.array(taxonomy.nodes)[tree.node]
    # The known latents: groups first, deepest first, then classes.
    best = [wnid[v - 1] if v else None for v in block["best"]]
    assert best[:8] == [wnid[v] for v in tree.internal]
    table = score_dictionary(codes, index["labels"], taxonomy, STUDY_SPEC).nodes
    for name in ("held_out", "held_out_null_permuted", "own_best", "own_best_null_permuted"):
        expected = dict(zip(table["wnid"].to_pylist(), table[name].to_pylist(), strict=True))
        found = {w: v for w, v in zip(wnid, nodes[name], strict=True) if not np.isnan(v)}
        # Truth values are written as 1 and 0.
        known = {w: float(v) for w, v in expected.items() if v is not None}
        assert found == pytest.approx(known)
    for v in tree.internal:
        latent = nodes["best_latent"][v]
        shown = nodes["examples"].reshape(-1, EXAMPLES)[v]
        assert shown.tolist() == [i for i, _ in ranked(codes, latent)][:EXAMPLES]
        assert nodes["best_mcc"][v] >= nodes["best_mcc_null_permuted"][v]
    for v in np.flatnonzero(tree.kind == 0):
        mine = np.flatnonzero(block["best"] == v + 1)
        expected = block["best_mcc"][mine].max() if len(mine) else np.nan
        assert nodes["best_mcc"][v] == pytest.approx(expected, nan_ok=True)
        assert nodes["n_finders"][v] == (block["best_mcc"][mine] >= SPEC.mcc_threshold).sum()
        assert np.isnan(nodes["best_mcc_null_permuted"][v])


def test_depth_holds_every_dictionary(atlas):
    catalogue = read_chunk(atlas / "shared" / "catalogue.js")
    depth = read_chunk(atlas / "shared" / "datasets" / "shapes" / "depth.js")
    chunk = read_chunk(atlas / "shared" / "datasets" / "shapes" / "depth_0.js")
    assert depth["dictionaries"].tolist() == list(range(len(catalogue["folders"])))
    for row, folder in enumerate(catalogue["folders"]):
        nodes = read_chunk(atlas / "dictionaries" / folder / "nodes.js")
        for name in ("held_out", "own_best", "best_mcc", "best_latent", "n_finders"):
            found = chunk[name].reshape(len(catalogue["folders"]), -1)[row]
            assert np.array_equal(found, nodes[name], equal_nan=True)
    assert catalogue["identity"]["sparsity"][-2:] == [None, 4]


def test_recurrence_is_written_where_there_are_other_seeds(atlas):
    files = sorted((atlas / "shared" / "recurrence").iterdir())
    assert len(files) == 2 * len(LAYERS)
    found = read_chunk(files[0])
    assert found["n_other_seeds"] == 1
    half = len(found["recurrence"]) // 2
    assert (found["recurrence"][:half] == 100).all(), "the same directions in both seeds"
    assert (found["seed_similarity"][:half] >= found["seed_similarity_null"][:half]).all()


def test_maps_are_shares_of_their_largest_value(atlas):
    folder = atlas / "dictionaries" / "trained" / "cls" / f"L{LAYERS[-1]}" / "topk" / "w20_k4_s0"
    maps = read_chunk(folder / "maps" / "1.js")
    assert maps["methods"] == ["relevancy", "shuffled"] and maps["crop"] == 0.9
    assert (maps["rows"], maps["columns"]) == (4, 4)
    assert (maps["values"].reshape(2, 2, 16).max(2) == 255).all()
    # Curves 1, .5, 0 and 0, 1, 1 in two steps: areas .5 and .75.
    assert maps["deletion"].tolist() == [0.5] * 4 and maps["insertion"].tolist() == [0.75] * 4


def test_maps_of_a_squashed_image_do_not_lie_on_the_thumbnail():
    assert crop_of({"crop_mode": "center", "crop_pct": 0.875}) == 0.875
    assert crop_of({"crop_mode": "squash", "crop_pct": 1.0}) is None


def test_thumbnails_are_square_and_never_named_by_a_path(atlas):
    from PIL import Image

    folder = atlas / "images" / "shapes" / "0"
    assert {path.name for path in folder.iterdir()} == {
        "paths.js",
        *(f"{i}.webp" for i in range(240)),
    }
    with Image.open(folder / "0.webp") as image:
        assert image.size == (30, 30), "not enlarged"
    assert read_chunk(folder / "paths.js")["paths"][0] == f"{HARM}.png"


def test_thumbnails_of_images_that_changed_are_refused(tmp_path):
    from cladescope.atlas.thumbnails import draw_thumbnails
    from cladescope.images.sources.image_folder import ImageFolder

    index = make_index(tmp_path / "images")
    (tmp_path / "images" / "3_4.png").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"3_4\.png is not the image that was indexed"):
        draw_thumbnails(index, ImageFolder(str(tmp_path / "images")), 32, tmp_path / "thumbnails")
    assert not (tmp_path / "thumbnails").exists()


def test_documentation_names_every_value_of_every_chunk(atlas, root):
    words = set(re.findall(r"`(\w+)`", (root / "docs" / "atlas.md").read_text()))
    catalogue = read_chunk(atlas / "shared" / "catalogue.js")
    ends = ("", *BESIDE.values())
    scores = {*LATENT_SCORES, *(f"{s['name']}{end}" for s in catalogue["scores"] for end in ends)}
    found = set()
    for path in atlas.glob("**/*.js"):
        if path.parent.name != "pages":
            found |= read_chunk(path).keys()
    lists = {name for name in found if name.removesuffix("_start").removesuffix("_values") in words}
    assert found - scores - lists - words == set()


def test_chunks_hold_what_is_declared_and_pages_read_nothing_else(atlas, root):
    catalogue = read_chunk(atlas / "shared" / "catalogue.js")
    examples = PAIR_EXAMPLES.keys()
    assert catalogue["format"] == json.loads(json.dumps(describe()))
    lists = {f"{name}{end}" for name in LISTS for end in ("", "_start", "_values")}
    shown = atlas / "dictionaries" / catalogue["folders"][0]
    mapped = next(atlas.glob("dictionaries/**/maps/*.js"))
    nodes = read_chunk(shown / "nodes.js").keys()
    maps = read_chunk(mapped).keys()
    assert read_chunk(shown / "latents_0.js").keys() == LATENTS.keys() | lists
    with_pairs = next(atlas.glob("dictionaries/**/pairs.js")).with_name("latents_0.js")
    assert read_chunk(with_pairs).keys() == LATENTS.keys() | lists | examples
    assert {*NODES} <= nodes and MAP_MEASURES.keys() <= maps
    # What the pages call these objects, everywhere.
    declared = {
        "latent": {"number", *LATENTS, *LISTS, *examples},
        "nodes": nodes,
        "maps": maps,
        "recurrence": RECURRENCE.keys(),
    }
    pages = "".join(path.read_text() for path in (root / "workflow" / "atlas").glob("*.js"))
    for name, fields in declared.items():
        read = set(re.findall(rf"(?<![./\w]){name}\.(\w+)", pages))
        assert read and read <= {*fields}, name


def test_workflow_charts_a_new_dictionary_alone(checkout, config):
    config["atlas"] = {"images": 2}
    checkout.write(config)
    pages = {"draw_thumbnails": 1, "build_atlas": 1, "tabulate_costs": 1}
    expected = {"chart_dictionary": 6, **pages}
    assert checkout.planned() == expected
    result = checkout.run()
    assert result.returncode == 0, result.stdout + result.stderr
    atlas = checkout.folder / "results" / "small" / "atlas"
    assert (atlas / "index.html").is_file() and not checkout.planned()
    topk = config["experiments"]["trained"]["sweep"]["variants"]["topk"]
    topk["seed"].append(1)
    checkout.write(config)
    planned = checkout.planned()
    # Two layers, two sparsities: four more.
    assert (planned["chart_dictionary"], planned["build_atlas"]) == (4, 1)
    assert "draw_thumbnails" not in planned
