"""The committed tables: every noun is a WordNet noun, in the sense that its definition says."""

from collections import Counter

import pytest

from cladescope.emoji.prepare import PER_CLASS, deal_shared, licences, plan_pictures
from cladescope.emoji.tables import read_nouns, read_vendors
from cladescope.emoji.weights import NETWORKS
from cladescope.taxonomy.wordnet import build_taxonomy, open_wordnet


@pytest.fixture(scope="module")
def vendors(root):
    return read_vendors(root / "resources" / "emoji" / "vendors.csv")


@pytest.fixture(scope="module")
def nouns(root, vendors):
    return read_nouns(root / "resources" / "emoji" / "nouns.csv", vendors)


def test_every_synset_is_the_noun_that_the_table_defines(nouns, root):
    with open_wordnet(root / "resources" / "nltk_data") as wordnet:
        for noun in nouns:
            synset = wordnet.synset_from_pos_and_offset("n", int(noun.wnid[1:]))
            assert (synset.name(), synset.definition()) == (noun.synset, noun.definition)
    assert len({noun.wnid for noun in nouns}) == len(nouns) >= 120


def test_the_classes_are_leaves_of_a_tree_of_many_sizes(nouns, root):
    wnids = [noun.wnid for noun in nouns]
    taxonomy = build_taxonomy(wnids, root / "resources" / "nltk_data")
    sizes = taxonomy.n_leaves[taxonomy.contracted]
    internal = sizes[(sizes > 1) & (sizes < len(nouns))]
    below = dict(zip(taxonomy.nodes, taxonomy.n_leaves, strict=True))
    assert all(below[wnid] == 1 for wnid in wnids)
    assert len(internal) >= 100 and len(set(internal.tolist())) >= 20


def test_senses_that_are_easily_mistaken(nouns):
    words = {noun.synset: noun.definition for noun in nouns}
    assert words["bat.n.01"].startswith("nocturnal mouselike mammal")
    assert words["mouse.n.01"].startswith("any of numerous small rodents")
    assert words["bow.n.04"].startswith("a weapon for shooting arrows")
    assert words["pear.n.01"].startswith("sweet juicy gritty-textured fruit")
    assert words["turkey.n.01"].startswith("large gallinaceous bird")


def test_no_icon_shows_two_nouns(nouns):
    used = Counter((vendor, name) for noun in nouns for vendor, name in noun.icons.items())
    assert [icon for icon, count in used.items() if count > 1] == []


def test_vendors_of_the_splits_are_apart_and_every_class_is_full(nouns, vendors):
    split_of = {vendor.name: vendor.split for vendor in vendors}
    for noun in nouns:
        pictures = plan_pictures(noun, vendors)
        assert Counter(picture.split for picture in pictures) == PER_CLASS
        assert all(split_of[picture.vendor] == picture.split for picture in pictures)
        assert len({picture.path for picture in pictures}) == len(pictures)


def test_shared_splits_hold_the_same_pictures_and_every_vendor(nouns, vendors):
    pictures = [picture for noun in nouns for picture in plan_pictures(noun, vendors)]
    dealt = deal_shared(pictures)
    assert sorted(p.path for part in dealt.values() for p in part) == sorted(
        p.path for p in pictures
    )
    for split, part in dealt.items():
        assert set(Counter(p.wnid for p in part).values()) == {PER_CLASS[split]}
        assert {p.vendor for p in part} == {vendor.name for vendor in vendors}


def test_a_noun_without_a_vendor_of_a_split_is_named(tmp_path, vendors):
    names = [vendor.name for vendor in vendors]
    row = ["n02121620", "cat.n.01", *("cat" if v.split == "train" else "" for v in vendors), "x"]
    header = ["wnid", "synset", *names, "definition"]
    (tmp_path / "nouns.csv").write_text(",".join(header) + "\n" + ",".join(row) + "\n")
    with pytest.raises(ValueError, match=r"cat.n.01: no icon of a vendor for eval"):
        read_nouns(tmp_path / "nouns.csv", vendors)


def test_licences_name_every_vendor(vendors):
    text = licences(vendors)
    assert all(f"{v.creator} | {v.licence}" in text for v in vendors)


def test_pinned_packages_are_named_as_the_lock_has_them(root):
    lock = (root / "envs" / "real.txt").read_text()
    for network in NETWORKS:
        assert f"{network.package.replace('_', '-')}=={network.version}" in lock
