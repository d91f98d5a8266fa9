"""`cladescope score`: codes from elsewhere, without a study."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cladescope.atlas.chunks import read_chunk
from cladescope.atlas.dictionary import PageSpec
from cladescope.images.classes import read_wnid_map
from cladescope.operations.atlas_given import SIDE, index_given
from cladescope.operations.score_given import read_given
from cladescope.schema import load_schema
from cladescope.scores.score import DictionaryScores
from cladescope.scores.spec import ScoreSpec

CLASSES = ("n02085620", "n02088364", "n02110958", "n02123045", "n02123394", "n02124075")
PER_CLASS = 40


@pytest.fixture
def files(tmp_path):
    """Codes of a latent for dogs and one for cats, and the classes of the images."""
    labels = np.repeat(CLASSES, PER_CLASS)
    dogs = np.isin(labels, CLASSES[:3])
    np.save(tmp_path / "z.npy", np.stack([dogs, ~dogs], 1) * 1.0)
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n")
    return tmp_path


@pytest.fixture
def score(files, root):
    spec = ScoreSpec(top_n=8, null_draws=5, p_draws=20, shuffle_draws=1, bootstrap_draws=0)

    def run(taxonomy, labels="labels.txt"):
        wordnet = root / "resources" / "nltk_data"
        return read_given(files / "z.npy", files / labels, str(taxonomy), wordnet).score(spec)

    return run


def test_every_form_of_labels_and_taxonomy_gives_the_same_scores(files, score, tmp_path):
    expected = score("wordnet")
    number = {wnid: label for label, wnid in read_wnid_map("imagenet-1k").items()}
    labels = np.repeat(CLASSES, PER_CLASS)
    (files / "numbers.txt").write_text("\n".join(number[wnid] for wnid in labels) + "\n")
    assert score("imagenet-1k", "numbers.txt").latents.equals(expected.latents)
    assert score("imagenet-1k").latents.equals(expected.latents)
    paths = [f"{n}.png" for n in range(len(labels))]
    pd.DataFrame({"path": paths, "wnid": labels}).to_csv(files / "labels.csv", index=False)
    assert score("wordnet", "labels.csv").latents.equals(expected.latents)
    # In a table of one's own, whose two nodes have no other name than their id.
    edges = [("dog", "root"), ("cat", "root"), *((c, "dog") for c in CLASSES[:3])]
    edges += [(c, "cat") for c in CLASSES[3:]]
    pd.DataFrame(edges, columns=["child", "parent"]).to_csv(files / "tree.csv", index=False)
    own = score(files / "tree.csv").nodes.to_pandas().set_index("wnid")["best_mcc"]
    assert own["dog"] == own["cat"] == 1


def test_pages_of_given_codes_show_as_much_as_a_studys_by_default():
    schema = load_schema()["$defs"]["atlas"]["properties"]
    shown = dataclasses.asdict(PageSpec()) | {"side": SIDE}
    assert {name: shown[name] for name in schema} == {n: s["default"] for n, s in schema.items()}


def test_images_that_the_labels_do_not_find_are_refused(files, root):
    wordnet = root / "resources" / "nltk_data"
    given = read_given(files / "z.npy", files / "labels.txt", "wordnet", wordnet)
    with pytest.raises(ValueError, match="a column `path`, or leave --images out"):
        index_given(given, files)
    paths = ["../labels.txt", "none.png", *["z.npy"] * (len(given.labels) - 2)]
    with pytest.raises(ValueError, match=r"has 2 fault.*\n  \.\./labels.txt: no.*\n  none.png: no"):
        index_given(dataclasses.replace(given, paths=paths), files / ".")


def test_labels_that_do_not_fit_are_refused(files, score):
    (files / "one.txt").write_text("n02085620\n" * PER_CLASS)
    with pytest.raises(ValueError, match=r"one\.txt: all images are of one class"):
        score("wordnet", "one.txt")
    (files / "unknown.txt").write_text("n00000001\nn02085620\n")
    with pytest.raises(ValueError, match=r"unknown\.txt: no class of ImageNet-1k: n00000001; give"):
        score("imagenet-1k", "unknown.txt")
    (files / "few.txt").write_text("n02088364\nn02085620\n")
    with pytest.raises(ValueError, match=r"z\.npy has 240 images, the labels 2"):
        score("wordnet", "few.txt")


@pytest.mark.slow
def test_codes_of_a_study_get_the_studys_numbers(finished, tmp_path):
    results = finished.folder / "results" / "small"
    dictionary = results / "trained" / "dictionaries" / "cls" / "L8" / "topk" / "w48_k4_s0"
    data = results / "datasets" / "planted"
    options = {
        "codes": dictionary / "codes.parquet",
        "labels": data / "images" / "eval.parquet",
        "taxonomy": data / "taxonomy.parquet",
        "config": finished.config,
        "out": tmp_path / "scores",
        "images": data / "rendered" / "eval",
    }
    told = finished.command(
        "score", *(str(x) for name, value in options.items() for x in (f"--{name}", value))
    )
    assert told.returncode == 0, told.stderr
    assert "MCC on held-out classes" in told.stdout
    for name in DictionaryScores._fields[:-1]:
        written = tmp_path / "scores" / f"{name}.parquet"
        assert written.read_bytes() == (dictionary / written.name).read_bytes(), name
    pages = tmp_path / "scores" / "atlas" / "dictionaries" / "given" / "codes"
    mine = read_chunk(pages / "latents_0.js")
    codes = pd.read_parquet(options["codes"])
    strongest = codes.groupby("latent")["activation"].max()
    assert (mine["strongest"][strongest.index] == strongest).all()
    assert len(mine["neighbours"]) == 0
    assert (tmp_path / "scores" / "atlas" / "index.html").is_file()
    unknown = finished.command(
        *("score", "--codes", "none.npy", "--labels", "none.txt", "--taxonomy", "wordnet"),
        *("--out", "scores"),
    )
    assert unknown.returncode == 2
    assert "none.txt does not exist" in unknown.stderr
