"""Which maps are made, what tells whether they are right, and the table of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torchvision.transforms import v2

from cladescope.backbone.backbone import Backbone, BackboneSpec, load_backbone
from cladescope.codes.codes import Codes
from cladescope.config import ConfigError, complete_config
from cladescope.planted.rendering import LEAF_WNIDS, PlantedSpec, render_image
from cladescope.relevancy.faithfulness import grid_of, measure_curves, object_coverage, share_inside
from cladescope.relevancy.map import RelevancySpec, choose_pairs
from cladescope.relevancy.methods import Target
from cladescope.summary.relevancy import summarise


def brightness(images):
    """A model with one dimension and one token for each patch."""
    return images[:, 0].unfold(1, 2, 2).unfold(2, 2, 2).mean((3, 4)).flatten(1)[..., None]


def mean_brightness(images):
    """The same with one token for each image."""
    return brightness(images).mean(1, keepdim=True)


def images_of(patches) -> torch.Tensor:
    """Images of 2 × 2 patches of 2 × 2 pixels, each patch of one grey level."""
    levels = torch.tensor(patches, dtype=torch.float32).view(-1, 1, 2, 2)
    return levels.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)


def unit_target(n: int, bias: float = 0.0) -> Target:
    return Target(torch.ones(n, 1), torch.zeros(1), torch.full((n,), bias))


def test_curves_by_hand():
    images = images_of([[4, 3, 2, 1], [4, 3, 2, 1]])
    maps = torch.tensor([[9.0, 8, 7, 6], [0.0, 0, 1, 0]])
    curves = measure_curves(mean_brightness, images, unit_target(2), maps, steps=4)
    # The mean is 10/4 whole; without 4: 6/4, then 3/4, 1/4, 0.
    torch.testing.assert_close(curves.deletion[0], torch.tensor([10, 6, 3, 1, 0]) / 10)
    torch.testing.assert_close(curves.insertion[0], torch.tensor([0, 4, 7, 9, 10]) / 10)
    # The third patch goes first, then ties in the order of the patches.
    torch.testing.assert_close(curves.deletion[1], torch.tensor([10, 8, 4, 1, 0]) / 10)


def test_curves_of_patch_latents_follow_the_strongest_patch_and_stop_at_zero():
    images = images_of([[4, 3, 2, 1]])
    maps = torch.tensor([[4.0, 3, 2, 1]])
    target = unit_target(1, bias=-2)
    curves = measure_curves(brightness, images, target, maps, steps=2)
    # Strongest patch minus 2: 4 − 2 whole, 2 − 2 without the first two.
    assert curves.deletion.tolist() == [[1, 0, 0]]
    assert curves.insertion.tolist() == [[0, 1, 1]]


def test_grid():
    assert grid_of(6, 20, 30) == (2, 3)
    with pytest.raises(ValueError, match="7 patches do not tile an image of 10 × 10 pixels"):
        grid_of(7, 10, 10)


def test_coverage_is_that_of_the_object_after_preprocessing(root):
    checkpoint = str(root / "resources/planted_vit/s0.safetensors")
    backbone = load_backbone(BackboneSpec("vit_planted", checkpoint, 8))
    mask = render_image(LEAF_WNIDS[0], PlantedSpec(), "eval", 0).mask
    coverage = object_coverage(backbone.transform, mask[None], 36)[0]
    expected = mask.reshape(6, 8, 6, 8).mean((1, 3))
    np.testing.assert_allclose(coverage.view(6, 6).numpy(), expected, atol=1e-6)
    # A backbone that sees only the middle of the image sees only the middle of the mask.
    steps = [v2.PILToTensor(), v2.CenterCrop(16), v2.ToDtype(torch.float32)]
    crop = v2.Compose([*steps, v2.Normalize([100.0] * 3, [510.0] * 3)])
    middle = Backbone("cropping", None, crop, [], "", {})
    found = object_coverage(middle.transform, mask[None], 4)[0]
    expected = mask[16:32, 16:32].reshape(2, 8, 2, 8).mean((1, 3))
    np.testing.assert_allclose(found.view(2, 2).numpy(), expected, atol=1e-6)


def test_share_inside_the_object():
    coverage = torch.tensor([[1.0, 0.5, 0, 0]]).expand(4, -1)
    maps = torch.tensor([[1.0, 1, 1, 1], [3, 0, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0]])
    found = share_inside(maps, coverage).tolist()
    # A uniform map has the object's share of the area: 1.5 of 4 patches.
    assert found[:3] == [0.375, 1, 0.25]
    assert np.isnan(found[3])


@pytest.fixture
def latents():
    return pd.DataFrame(
        {
            "latent": [0, 1, 2, 3, 4],
            "status": ["scored", "scored", "rare", "scored", "scored"],
            "best_internal_wnid": ["n1", "n1", "n2", "n3", "n4"],
            "best_internal_mcc": [0.5, 0.7, 0.9, 0.6, 0.1],
        }
    )


def test_pairs_are_the_best_and_random_latents_with_their_strongest_images(latents):
    codes = Codes(
        image=np.tile(np.arange(4, dtype=np.int32), 5),
        latent=np.repeat(np.arange(5, dtype=np.int32), 4),
        activation=np.tile(np.array([1, 4, 3, 2], np.float32), 5),
        n_images=4,
        width=5,
    )
    spec = RelevancySpec(2, 5, images=2, pairs_per_batch=1, steps=2, seed=0)
    nodes = pd.DataFrame({"wnid": ["n1", "n4"], "best_latent": [1, 4]})
    spec = replace(spec, nodes=("n4",))
    pairs = choose_pairs(codes, latents, nodes, spec)
    assert pairs.loc[pairs["chosen"] == "named", "latent"].tolist() == [4, 4]
    best = pairs[pairs["chosen"] == "best"]
    # Images 1 and 2 are the strongest of every latent; the control is the other latent.
    assert best["latent"].tolist() == [1, 1, 3, 3]
    assert best["other"].tolist() == [3, 3, 1, 1]
    assert best["image"].tolist() == [1, 2, 1, 2]
    drawn = pairs[pairs["chosen"] == "random"]
    assert set(drawn["latent"]) == {0, 4}, "scored, and not among the best"
    assert (drawn["latent"] != drawn["other"]).all()


def test_summary_is_over_latents_not_maps():
    maps = pd.DataFrame(
        {
            "chosen": "best",
            "latent": [0, 0, 0, 1],
            "image": [0, 1, 2, 3],
            "method": "relevancy",
            "deletion": [np.array([1.0, 0.5, 0.0])] * 4,
            "insertion": [np.array([0.0, 1.0, 1.0])] * 4,
            "object_share": [0.2, 0.2, np.nan, 0.8],
            "object_area": [0.1, 0.1, 0.1, 0.3],
        }
    )
    (row,) = summarise(maps, draws=200, seed=0)
    assert (row["n_latents"], row["n_maps"]) == (2, 4)
    # Latent means .2 and .8, areas .1 and .3, excesses .1 and .5; trapezoids by hand.
    assert row["object_share"] == pytest.approx(0.5)
    assert row["object_area"] == pytest.approx(0.2)
    assert row["object_excess"] == pytest.approx(0.3)
    assert row["deletion_area"] == pytest.approx(0.5)
    assert row["insertion_area"] == pytest.approx(0.75)
    # Two latents: a resample holds one of them twice, or both.
    assert row["object_share_low"] == pytest.approx(0.2)
    assert row["object_share_high"] == pytest.approx(0.8)
    assert row["deletion_area_low"] == row["deletion_area_high"]


def test_summary_without_masks_has_no_numbers_for_them():
    maps = pd.DataFrame(
        {
            "chosen": ["best"],
            "latent": [0],
            "image": [0],
            "method": ["relevancy"],
            "deletion": [np.array([1.0, 0.0])],
            "insertion": [np.array([0.0, 1.0])],
            "object_share": [None],
            "object_area": [None],
        }
    )
    (row,) = summarise(maps, draws=5, seed=0)
    assert row["object_share"] is None
    assert row["object_excess_low"] is None
    assert row["deletion_area"] == 0.5


def test_dictionary_outside_the_sweep_names_the_nearest(default_config):
    default_config["relevancy"] = {"dictionaries": ["trained/dictionaries/cls/L8/topk/w256_k8_s9"]}
    with pytest.raises(ConfigError, match=r"did you mean trained/.*/cls/L8/topk/w256_k8_s.\?"):
        complete_config(default_config)


def test_random_backbones_are_mapped_beside_the_shown_dictionary(checkout, config):
    config["experiments"]["untrained"] = {
        **config["experiments"]["trained"],
        "backbone": {"model": "vit_planted", "weights": "random", "blocks": 8, "seed": 0},
    }
    checkout.write(config)
    without = checkout.planned()
    config["relevancy"] = {}
    checkout.write(config)
    assert checkout.planned() - without == {
        "map_relevancy": 2,
        "tabulate_relevancy": 1,
        "plot_examples": 1,
    }


def test_relevancy_through_the_workflow(checkout, config):
    """Asking for maps makes maps and their table, and nothing else again."""
    config["relevancy"] = {
        "latents": 3,
        "random_latents": 2,
        "images": 2,
        "steps": 2,
        "bootstrap_draws": 20,
    }
    checkout.write(config)
    asked = {"map_relevancy": 1, "tabulate_relevancy": 1, "plot_examples": 1, "tabulate_costs": 1}
    assert checkout.planned() == asked
    result = checkout.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert checkout.planned() == {}
    results = checkout.folder / "results" / "small"
    table = pd.read_csv(results / "tables" / "relevancy.csv")
    assert table["method"].drop_duplicates().tolist() == [
        "relevancy",
        "attention",
        "rollout",
        "contrast",
        "shuffled",
        "random",
    ]
    maps = pq.read_table(results / table["dictionary"][0] / "relevancy.parquet")
    assert maps.schema.metadata == {b"rows": b"6", b"columns": b"6"}
    rows = maps.to_pandas()
    assert len(rows) == 6 * 5 * 2, "methods, latents, images"
    assert rows["relevancy"].map(len).eq(36).all()
    assert (np.stack(rows["deletion"])[:, 0] == 1).all(), "the image is whole"
    assert rows["object_area"].between(0.02, 0.9).all()
    config["relevancy"]["bootstrap_draws"] = 30
    checkout.write(config)
    assert checkout.planned() == {"tabulate_relevancy": 1, "tabulate_costs": 1}
    assert (results / "figures" / "examples.png").read_bytes().startswith(b"\x89PNG")
