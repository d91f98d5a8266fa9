"""The taxonomy against NLTK, hand-made graphs and its own file."""

from pathlib import Path

import nltk.data
import numpy as np
import pytest

from cladescope.planted.rendering import LEAF_WNIDS
from cladescope.scores.halves import ClassCounts
from cladescope.scores.lch import images_needed, lowest_common
from cladescope.taxonomy.table import read_taxonomy_table
from cladescope.taxonomy.taxonomy import Taxonomy, taxonomy_from_parents
from cladescope.taxonomy.tree import Tree
from cladescope.taxonomy.wordnet import build_taxonomy, open_wordnet

NLTK_DATA = Path(__file__).parents[2] / "resources" / "nltk_data"

#     r
#    / \        c has two parents: c-a-r and c-b-x-r, so depth(c) = 3.
#   a   x       x and b are a chain over the same classes {c, d}: they contract into b.
#   |\ /        e is a class below the class d.
#   | b
#  f c  d
#        e
GRAPH = {
    "r": [],
    "a": ["r"],
    "x": ["r"],
    "b": ["x"],
    "f": ["a"],
    "c": ["a", "b"],
    "d": ["b"],
    "e": ["d"],
}


def lowest_common_hypernyms(tree: Taxonomy, counts: np.ndarray, tau: float = 1.0) -> np.ndarray:
    """Node index of LCH_τ for each row of class counts, by the code that scores latents."""
    arrays, counts = Tree.of(tree), np.asarray(counts)
    latent, label = np.nonzero(counts)
    start = np.searchsorted(latent, np.arange(len(counts) + 1))
    top = ClassCounts(start, label.astype(np.int32), counts[latent, label].astype(np.int32))
    return arrays.node[lowest_common(top, images_needed(counts.sum(1), tau), arrays)]


@pytest.fixture(scope="session")
def wnids() -> list[str]:
    timm_data = pytest.importorskip("timm.data")
    return timm_data.ImageNetInfo("imagenet-1k").label_names()


@pytest.fixture(scope="session")
def imagenet(wnids: list[str]) -> Taxonomy:
    return build_taxonomy(wnids, NLTK_DATA)


@pytest.fixture(scope="session")
def synsets(wnids: list[str]):
    with open_wordnet(NLTK_DATA) as wordnet:
        found = [wordnet.synset_from_pos_and_offset("n", int(wnid[1:])) for wnid in wnids]
        for synset in found:
            _closure(synset)  # read the ancestors before the archive is gone
    return found


def _closure(synset) -> dict[int, int]:
    """Depth by offset of a synset and all its hypernyms, as NLTK follows and measures them."""
    found, queue = {}, [synset]
    while queue:
        if (node := queue.pop()).offset() not in found:
            found[node.offset()] = node.max_depth()
            queue += node.hypernyms() + node.instance_hypernyms()
    return found


def test_hand_made_graph() -> None:
    tree = taxonomy_from_parents(["c", "d", "e", "f"], GRAPH)
    # Depths: e 4; c, d 3; b, f 2; a, x 1; r 0. Ties by classes, then id: c (1) before d (2: d and
    # e), f (1) before b (3: c, d, e), a (2: c, f) before x (3).
    assert tree.nodes == ("e", "c", "d", "f", "b", "a", "x", "r")
    np.testing.assert_array_equal(tree.depth, [4, 3, 3, 2, 2, 1, 1, 0])
    np.testing.assert_array_equal(tree.n_leaves, [1, 1, 2, 1, 3, 2, 3, 4])
    # Heights: d has e below it (1), b two steps (d, e), a one (c or f), x three, r four.
    np.testing.assert_array_equal(tree.height, [0, 0, 1, 0, 2, 1, 3, 4])
    np.testing.assert_array_equal(tree.representative, [0, 1, 2, 3, 4, 5, 4, 7])
    # Contracted: x is b, so r is one step above b.
    np.testing.assert_array_equal(tree.height_contracted, [0, 0, 1, 0, 2, 1, 2, 3])
    np.testing.assert_allclose(tree.ic, [2, 2, 1, 2, np.log2(4 / 3), 1, np.log2(4 / 3), 0])
    assert tree.parents[1] == (4, 5)
    assert tree.root == 7


def test_contraction_counts_what_hangs_on_a_shallower_node_of_a_chain() -> None:
    # u - x - r is a chain over {c, d, e}, and w, over {c, d}, hangs on u. So the chain is two steps
    # above c and d, and y, which is above r, three.
    graph = {"top": [], "u": ["top"], "w": ["u"], "x": ["u"], "r": ["x", "y"], "y": ["top"]}
    graph |= {"c": ["w", "r"], "d": ["w", "r"], "e": ["r"], "f": ["top"], "g": ["y"]}
    tree = taxonomy_from_parents([*"cdefg"], graph)
    contracted = dict(zip(tree.nodes, tree.height_contracted.tolist(), strict=True))
    assert {n: contracted[n] for n in "wruxy"} == {"w": 1, "r": 2, "u": 2, "x": 2, "y": 3}
    assert contracted["top"] == 4


def test_lowest_common_hypernym_with_a_share() -> None:
    tree = taxonomy_from_parents(["c", "d", "e", "f"], GRAPH)
    counts = [[1, 1, 0, 0], [9, 0, 0, 1], [1, 0, 0, 9], [3, 0, 7, 0], [0, 0, 0, 0], [0, 1, 1, 0]]
    # All images: {c, d} b; {c, f} a twice; {c, e} b; none; {d, e} d.
    assert [tree.nodes[i] for i in lowest_common_hypernyms(tree, counts)[[0, 1, 2, 3, 5]]] == [
        *"baabd"
    ]
    # Nine of ten: the second row is covered by c alone, the third by f; the fourth has no 9.
    assert [tree.nodes[i] for i in lowest_common_hypernyms(tree, counts, 0.9)[1:4]] == [*"cfb"]
    assert lowest_common_hypernyms(tree, counts, 0.7)[3] == tree.nodes.index("e")


def test_share_that_is_not_exact_in_binary() -> None:
    # 0.55 x 100 is 55.00000000000001 in floating point; 55 images are enough.
    assert images_needed(100, 0.55) == 55
    assert images_needed(32, 0.9) == 29
    with pytest.raises(ValueError, match="share"):
        images_needed(3, 0.0)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"r": [], "c": ["a"], "a": ["b"], "b": ["a"]}, "cycle"),
        ({"r": [], "c": ["a"]}, "no list of parents"),
        ({"r": [], "s": [], "c": ["r", "s"]}, "one root"),
    ],
)
def test_graphs_that_are_no_taxonomy(graph: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        taxonomy_from_parents(["c"], graph)


def test_every_node_of_every_fault_is_listed(tmp_path: Path) -> None:
    # u and v form a cycle, with w below it; k and r are two roots; d is nowhere.
    table = tmp_path / "t.csv"
    table.write_text("child,parent\nu,v\nv,u\nw,u\nc,r\nc,k\n")
    with pytest.raises(ValueError, match=r"t\.csv: .*lacks: d") as error:
        read_taxonomy_table(table, ["w", "c", "d"])
    with pytest.raises(ValueError, match=r"t\.csv: a cycle.*'u', 'v'; .*not 2: 'k', 'r'") as error:
        read_taxonomy_table(table, ["w", "c"])
    assert "'w'" not in str(error.value)
    table.write_text("child,mother\n")
    with pytest.raises(ValueError, match="no column parent"):
        read_taxonomy_table(table, ["c"])
    with pytest.raises(FileNotFoundError, match="taxonomy"):
        read_taxonomy_table(tmp_path / "none.csv", ["c"])


def test_table_of_parents_is_the_same_taxonomy(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [f"{child},{parent},the {child}" for child in GRAPH for parent in GRAPH[child] or [""]]
    table.write_text("child,parent,name\n" + "\n".join(rows) + "\nunused,r,\n")
    read, built = read_taxonomy_table(table, [*"cdef"]), taxonomy_from_parents([*"cdef"], GRAPH)
    assert (read.nodes, read.parents) == (built.nodes, built.parents)
    np.testing.assert_array_equal(read.ancestors, built.ancestors)
    assert read.names[read.nodes.index("c")] == "the c"


def test_every_bad_class_is_named() -> None:
    # A dog twice, no id, an offset inside a record, a verb, and one past the end.
    bad = ["n02084071", "n02084071", "dog", "n02084072", "v00001740", "n99999999"]
    with pytest.raises(ValueError, match="more than once: n02084071; no noun") as error:
        build_taxonomy(bad, NLTK_DATA)
    assert all(wnid in str(error.value) for wnid in bad)
    with pytest.raises(FileNotFoundError, match=r"corpora/wordnet\.zip"):
        build_taxonomy(bad, NLTK_DATA / "corpora")


def test_own_data_only() -> None:
    before = list(nltk.data.path)
    build_taxonomy(["n02084071", "n02121620"], NLTK_DATA)
    assert nltk.data.path == before


def test_imagenet_shape(imagenet: Taxonomy, wnids: list[str], synsets: list) -> None:
    assert imagenet.leaves == tuple(wnids)
    assert (len(imagenet.nodes), imagenet.depth.max()) == (1860, 18)
    assert imagenet.names[imagenet.nodes.index("n02084071")] == "dog.n.01"
    leaf = [imagenet.nodes.index(wnid) for wnid in wnids]
    assert imagenet.depth[leaf].tolist() == [synset.max_depth() for synset in synsets]
    assert (imagenet.height[leaf] == 0).all()
    for node, parents in enumerate(imagenet.parents):
        assert all(node < parent for parent in parents)
        assert all(imagenet.height[node] < imagenet.height[parent] for parent in parents)


@pytest.mark.slow
def test_random_sets_agree_with_sets_of_synsets(imagenet: Taxonomy, synsets: list) -> None:
    depth: dict[int, int] = {}
    closures = []
    for closure in map(_closure, synsets):
        closures.append(set(closure))
        depth |= closure
    n_leaves: dict[int, int] = {}
    for closure in closures:
        for offset in closure:
            n_leaves[offset] = n_leaves.get(offset, 0) + 1
    random = np.random.default_rng(0)
    # Uniform sets nearly always meet at the top, so half of them come from under one random node.
    counts, expected = np.zeros((1000, 1000)), []
    for row in range(len(counts)):
        pool = np.arange(1000)
        if row % 2:
            pool = np.flatnonzero(imagenet.ancestors[:, random.integers(len(imagenet.nodes))])
        chosen = random.choice(pool, min(len(pool), random.integers(2, 41)), replace=False)
        counts[row, chosen] = random.integers(1, 5, len(chosen))
        common = set.intersection(*(closures[c] for c in chosen))
        expected.append(min(common, key=lambda o: (-depth[o], n_leaves[o], o)))
    found = lowest_common_hypernyms(imagenet, counts)
    assert [int(imagenet.nodes[i][1:]) for i in found] == expected
    assert len(set(expected)) > 200


def test_random_pairs_agree_with_nltk(imagenet: Taxonomy, synsets: list) -> None:
    random = np.random.default_rng(1)
    counts, nltk_answers = np.zeros((50_000, 1000), np.int8), []
    for row in range(len(counts)):
        first = random.integers(1000)
        second = (first + random.integers(1, 40 if row % 2 else 1000)) % 1000
        counts[row, [first, second]] = 1
        nltk_answers.append(synsets[first].lowest_common_hypernyms(synsets[second]))
    found = lowest_common_hypernyms(imagenet, counts)
    for node, answers in zip(found, nltk_answers, strict=True):
        assert int(imagenet.nodes[node][1:]) in {synset.offset() for synset in answers}


def test_file_keeps_everything(imagenet: Taxonomy, wnids: list[str], tmp_path: Path) -> None:
    imagenet.save(tmp_path / "a.parquet")
    loaded = Taxonomy.load(tmp_path / "a.parquet")
    for name in ("leaves", "nodes", "names", "parents"):
        assert getattr(loaded, name) == getattr(imagenet, name)
    for name in ("depth", "height", "height_contracted", "representative", "ancestors"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(imagenet, name))
        assert getattr(loaded, name).dtype == getattr(imagenet, name).dtype
    loaded.save(tmp_path / "b.parquet")
    build_taxonomy(wnids, NLTK_DATA).save(tmp_path / "c.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()


def test_other_tables_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"wnid": ["n1"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet is not a taxonomy table"):
        Taxonomy.load(tmp_path / "x.parquet")


def test_nodes_lie_below_their_hypernyms_alone():
    """NLTK's closure of hypernyms against the contracted tree of the planted world's classes."""
    taxonomy = build_taxonomy(LEAF_WNIDS, NLTK_DATA)
    tree = Tree.of(taxonomy)
    same = {n: set() for n in tree.node}
    for node, kept in enumerate(taxonomy.representative):
        same[kept].add(taxonomy.nodes[node])
    with open_wordnet(NLTK_DATA) as wordnet:

        def above(wnid):
            synset = wordnet.synset_from_pos_and_offset("n", int(wnid[1:]))
            parents = lambda s: s.hypernyms() + s.instance_hypernyms()  # noqa: E731
            return {f"n{found.offset():08d}" for found in synset.closure(parents)}

        expected = [
            [b != a and any(above(wnid) & same[b] for wnid in same[a]) for b in tree.node]
            for a in tree.node
        ]
    assert np.array_equal(tree.below, expected)
    # Every domestic animal of this world is a carnivore, but not by its hypernyms.
    named = {taxonomy.names[node]: position for position, node in enumerate(tree.node)}
    domestic, carnivore = named["domestic_animal.n.01"], named["carnivore.n.01"]
    assert (tree.covers[:, carnivore] >= tree.covers[:, domestic]).all()
    assert not tree.below[domestic, carnivore]
    parents, children = tree.edges
    assert tree.below[children, parents].all()
