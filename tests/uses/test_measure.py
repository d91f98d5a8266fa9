"""All uses of a dictionary side by side: the table, what codes are compared with, and the null."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.sparse import issparse

from cladescope.about import read_about
from cladescope.codes.codes import Codes
from cladescope.summary.figures.uses import plot_uses
from cladescope.summary.uses import summarise, uses_section
from cladescope.taxonomy.taxonomy import taxonomy_from_parents
from cladescope.uses.measure import Place, UsesSpec, measure_uses
from cladescope.uses.rows import code_rows, equal_components, principal_axes, unit
from cladescope.uses.table import SCHEMA, Measured, table_of
from families import TAXONOMY

LABELS = np.repeat(np.arange(8), 10)
SPEC = UsesSpec(queries=4, shots=(1, 4), draws=2, latents=(1, 2), null_draws=3, seed=0)


def codes_of(z: np.ndarray) -> Codes:
    image, latent = np.nonzero(z)
    active = z[image, latent].astype(np.float32)
    return Codes(image.astype(np.int32), latent.astype(np.int32), active, *z.shape)


def place_of(x: np.ndarray) -> Place:
    return Place(x - x.mean(0), LABELS, None, TAXONOMY, SPEC)


@pytest.fixture
def written(tmp_path):
    """A latent for each class, beside noise in six dimensions."""
    x = np.random.default_rng(0).standard_normal((len(LABELS), 6))
    measure_uses(codes_of(np.eye(8)[LABELS]), place_of(x), tmp_path / "uses.parquet")
    return tmp_path / "uses.parquet"


def test_table_has_a_row_for_each_value(written) -> None:
    table = pq.read_table(written)
    assert table.schema.remove_metadata() == SCHEMA
    rows = table.to_pandas()
    size = rows.groupby(["task", "measure", "level"], sort=False).size()
    assert size["retrieval"].tolist() == [8] * 7
    # Two draws of two numbers of examples; two numbers of latents.
    assert size["few_shots"].tolist() == [4 * 8, 4 * 4, 4 * 2]
    assert size["transfer"].tolist() == [4 * 6] and size["sparse_probes"].tolist() == [2 * 6]
    family = rows[rows["level"].eq("family")]
    assert set(family.loc[family["task"] == "few_shots", "wnid"]) == {*"poqt"}
    assert set(family.loc[family["task"] == "few_shots", "n_leaves"]) == {2}
    about = json.loads(table.schema.metadata[b"about"])
    assert about == {"n_images": 80, "n_queries": 32, "nonzeros": 1.0, "components": 2}


def test_codes_activations_and_null_are_in_their_columns(written) -> None:
    rows = pd.read_parquet(written).set_index(["task", "measure", "level"]).sort_index()
    means = rows.groupby(level=[0, 1, 2])[["codes", "raw", "pca", "chance"]].mean()
    leaf = means.loc[("retrieval", "map", "leaf")]
    assert leaf["codes"] == 1 and max(leaf["raw"], leaf["pca"]) < 0.4
    # Of single classes nothing depends on where they stand in the tree.
    null = rows.loc[("retrieval", "map"), "codes_null_permuted"]
    assert (null["leaf"] == 1).all() and (null["family"] < 1).all()
    # Where every latent is of one class, families are as good as any pairs of classes.
    codes = rows.loc[("retrieval", "map", "family"), "codes"]
    assert codes.mean() == pytest.approx(null["family"].mean())
    assert (rows.loc["transfer", "codes"].dropna() == 0.5).all()


def test_null_is_learnt_anew_for_classes_that_changed_places(tmp_path) -> None:
    x = np.random.default_rng(4).standard_normal((len(LABELS), 3))
    measure_uses(codes_of(np.eye(4)[LABELS // 2]), place_of(x), tmp_path / "uses.parquet")
    rows = pd.read_parquet(tmp_path / "uses.parquet").set_index(["task", "level"]).sort_index()
    families = rows["n_leaves"].eq(2)
    for task, level in (("few_shots", "family"), ("sparse_probes", "node"), ("transfer", "node")):
        found = rows[families].loc[(task, level), ["codes", "codes_null_permuted"]].mean()
        assert found["codes"] > found["codes_null_permuted"] + 0.1
    leaf = rows.loc[("few_shots", "leaf"), ["codes", "codes_null_permuted"]].mean()
    assert leaf["codes"] == pytest.approx(leaf["codes_null_permuted"])


def test_null_leaves_out_draws_without_a_score() -> None:
    def measured(*values: float) -> list[Measured]:
        value = np.array(values)
        return [Measured("retrieval", "map", "leaf", np.arange(3), value, value)]

    permuted = [measured(1, np.nan, np.nan), measured(2, 4, np.nan)]
    table = table_of(
        measured(0, 0, 0), {"raw": measured(0, 0, 0), "pca": measured(0, 0, 0)}, permuted, TAXONOMY
    )
    assert table["codes_null_permuted"].to_pylist() == [1.5, 4, None]


def test_same_images_make_the_same_bytes(written, tmp_path) -> None:
    x = np.random.default_rng(0).standard_normal((len(LABELS), 6))
    measure_uses(codes_of(np.eye(8)[LABELS]), place_of(x), tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == written.read_bytes()


def test_all_components_are_as_good_as_the_activations(tmp_path) -> None:
    x = np.random.default_rng(1).standard_normal((len(LABELS), 4)) + np.eye(8)[LABELS, :4]
    measure_uses(codes_of(np.abs(x)), place_of(x), tmp_path / "uses.parquet")
    rows = pd.read_parquet(tmp_path / "uses.parquet")
    rotated = rows[rows["task"] != "sparse_probes"]
    assert rotated["pca"].to_numpy() == pytest.approx(rotated["raw"].to_numpy(), nan_ok=True)
    fewer = place_of(x).of_components(1)
    assert fewer[0].value.mean() < rotated["pca"].iloc[:8].mean()


def test_bytes_of_codes_in_components() -> None:
    # 23 non-zeros on 10 images take 184 bytes, of each image those of 4.6 float32.
    z = np.zeros((10, 9))
    z[:, :2], z[:3, 2] = 1.0, 1.0
    assert equal_components(codes_of(z), d=100) == 5
    assert equal_components(codes_of(z), d=3) == 3
    assert equal_components(codes_of(np.zeros((10, 9))), d=3) == 1


def test_rows_hold_the_codes() -> None:
    random = np.random.default_rng(2)
    for share, sparse in ((0.1, True), (0.6, False)):
        z = np.float32(random.random((30, 12)) * (random.random((30, 12)) < share))
        z[4] = 0
        rows = code_rows(codes_of(z))
        assert issparse(rows) == sparse
        dense = rows.toarray() if sparse else rows
        assert dense == pytest.approx(z)
        length = np.linalg.norm(z, axis=1, keepdims=True)
        scaled = unit(rows)
        scaled = scaled.toarray() if sparse else scaled
        assert scaled == pytest.approx(z / np.where(length > 0, length, 1))


def test_axes_are_those_of_the_largest_variance() -> None:
    x = np.random.default_rng(3).standard_normal((500, 3)) * [1, 9, 3]
    axes = np.abs(principal_axes(x - x.mean(0)))
    assert axes.argmax(0).tolist() == [1, 2, 0] and (axes.max(0) > 0.99).all()


def test_a_taxonomy_without_internal_nodes_has_levels_that_are_the_classes(tmp_path) -> None:
    flat = taxonomy_from_parents([*"ab"], {"r": [], "a": ["r"], "b": ["r"]})
    labels = LABELS % 2
    x = np.random.default_rng(5).standard_normal((len(labels), 3))
    place = Place(x - x.mean(0), labels, None, flat, SPEC)
    measure_uses(codes_of(np.eye(2)[labels]), place, tmp_path / "uses.parquet")
    rows, about = read_about(tmp_path / "uses.parquet")
    assert set(rows["task"]) == {"retrieval", "few_shots"}
    few = rows[rows["task"] == "few_shots"].groupby("level")["wnid"].unique()
    assert set(few.index) == {"leaf", "family", "domain"}
    assert all(sorted(nodes) == ["a", "b"] for nodes in few)
    arm = {"experiment": "e", "dataset": "d", "weights": "file", "token": "cls", "layer": 1}
    arm |= {"variant": "topk", "width": 2, "sparsity": 1, "seed": 0, "kind": "topk"}
    table = pd.DataFrame(summarise(rows, about, 10, 0)).assign(**arm)
    assert "| topk | 1.0 | 1.00 null 1.00 |" in "\n".join(uses_section(table))
    assert len(plot_uses(table).axes) == 6
