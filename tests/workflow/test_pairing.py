"""A study with pairs of images of one's own: what is refused when, and what comes of them."""

import shutil

import pandas as pd
import pytest

from checkouts import SMALL, edit
from cladescope.atlas.chunks import read_chunk

DOG, PUG, LION = "n02084071", "n02110958", "n02129165"


@pytest.fixture
def study(checkout, tmp_path):
    """The small study, its pictures as anyone's: takes rows of a table of pairs."""
    rendered = checkout.folder / "results" / "small" / "datasets" / "planted" / "rendered"
    for wnid in (PUG, LION):
        for number in range(4):
            shutil.copy(
                rendered / "eval" / wnid / f"eval_{number:05d}.png",
                tmp_path / f"{wnid}_{number}.png",
            )
    folders = {split: str(rendered / split) for split in ("train", "eval")}
    table = tmp_path / "pairs.csv"

    def write(*rows: tuple[str, str, str, str], **sections: dict) -> None:
        pd.DataFrame(rows, columns=["image", "counterpart", "node", "change"]).to_csv(
            table, index=False
        )
        dataset = {"source": "image_folder", "folders": folders, "pairs": str(table)}
        checkout.write(edit(SMALL, {"datasets.planted": dataset, **sections}))

    return checkout, write


def test_pairs_of_ones_own_are_checked_and_scored(study):
    checkout, write = study
    rows = [(f"{LION}_{n}.png", f"{PUG}_{n}.png", DOG, "across") for n in range(4)]
    write((*rows[0][:3], "acros"), *rows[1:])
    told = checkout.run("-n")
    assert told.returncode != 0
    assert "pairs.csv has 1 fault(s)" in told.stderr and "line 2: unknown change" in told.stderr

    write((*rows[0][:2], "n00000001", "across"), *rows[1:])
    table = str(checkout.folder / "results" / "small" / "tables" / "pairs.csv")
    told = checkout.run("--", "results/small/tables/pairs.csv")
    assert told.returncode != 0
    assert "pairs.csv, column node: n00000001: not internal nodes" in told.stdout + told.stderr
    activations = checkout.folder / "results" / "small" / "trained" / "activations"
    assert not (activations / "pairs").exists()

    write(*rows, (f"{PUG}_0.png", f"{PUG}_1.png", DOG, "within"))
    done = checkout.run("--", "results/small/tables/pairs.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    found = pd.read_csv(table)
    assert found["dictionary"].nunique() == 6 and {*found["change"]} == {"across", "within"}
    across = found[found["change"].eq("across") & found["nodes"].eq("all")]
    assert across["n_pairs"].eq(4).all() and across["pixel_change"].between(0.01, 0.5).all()
    assert across["answer"].le(across["fires"]).all() and across["answer"].notna().all()
    assert found.loc[found["change"].eq("within"), "answer"].isna().all()
    assert found["config_sha256"].notna().all() and found["pairs_sha256"].nunique() == 1


def test_the_atlas_has_pairs_of_every_dictionary_and_ablation_of_those_ablated(study):
    checkout, write = study
    shown = "trained/dictionaries/cls/L8/topk/w48_k2_s0"
    write(
        (f"{PUG}_0.png", f"{PUG}_1.png", DOG, "leaf"),
        (f"{LION}_0.png", f"{PUG}_0.png", DOG, "across"),
        atlas={"images": 2},
        ablation={"dictionaries": [shown], "latents": [1], "images": 2},
    )
    done = checkout.run("--", "results/small/atlas/index.html")
    assert done.returncode == 0, done.stdout + done.stderr
    atlas = checkout.folder / "results" / "small" / "atlas"
    names = {path.name for path in (atlas / "images" / "planted.pairs" / "0").iterdir()}
    assert names == {"paths.js", "0.webp", "1.webp", "2.webp"}
    folders = [path.parent for path in atlas.glob("dictionaries/**/nodes.js")]
    assert len(folders) == 6 and all((folder / "pairs.js").is_file() for folder in folders)
    (ablated,) = atlas.glob("dictionaries/**/ablation.js")
    assert ablated.parent == atlas / "dictionaries" / shown.replace("/dictionaries/", "/")
    assert read_chunk(ablated)["draws"] == 5
    assert read_chunk(ablated.with_name("nodes.js"))["ablated"]
    tree = read_chunk(atlas / "shared" / "datasets" / "planted" / "tree.js")
    (node,) = read_chunk(ablated.with_name("pairs.js"))["node"]
    assert tree["wnid"][node] == DOG
