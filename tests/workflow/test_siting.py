"""What the parts of a block add, through Snakemake from its stores to the tables."""

import numpy as np

from cladescope.activations.store import read_activations
from cladescope.files import read_json
from cladescope.summary.tables import read_csv

EXTRACTED = {split: f"extract_activations_trained_{split}_" for split in ("train", "eval")}


def test_sites_run_to_the_tables_and_each_is_extracted_alone(checkout, config):
    results = checkout.folder / "results" / "small"
    before = read_csv(results / "tables" / "metrics.csv")
    experiment = config["experiments"]["trained"]
    first = experiment["extraction"]["passes"]
    experiment["extraction"]["passes"] = [*first, {"layers": [8], "sites": ["attention"]}]
    variants = {"topk": {"width": [48], "sparsity": [4], "seed": [0]}, "neurons": {}}
    sweep = {"layers": [8], "sites": ["residual", "attention"], "variants": variants}
    experiment["sweep"] = sweep
    checkout.write(config)
    tables = [f"results/small/tables/{name}.csv" for name in ("metrics", "probes", "trends")]
    planned = checkout.planned("--", *tables)
    assert {rule for rule in planned if rule.startswith("extract")} == {
        f"{rule}1" for rule in EXTRACTED.values()
    }
    assert planned["train_sae"] == planned["encode"] == planned["score_dictionary"] == 2
    result = checkout.run("--", *tables)
    assert result.returncode == 0, result.stdout + result.stderr
    metrics, probes, _ = (read_csv(checkout.folder / table) for table in tables)
    assert [*metrics["token"]] == ["cls"] * 2 + ["cls_attention"] * 2
    assert metrics["dictionary"].str.contains("/cls_attention/L8/").sum() == 2
    assert set(probes["token"]) == {"cls", "cls_attention"}
    assert metrics.columns.equals(before.columns)
    scores = metrics.loc[:, "n_images":"fve"].columns
    kept = metrics.merge(before, on="dictionary", suffixes=("", "_before"))
    assert len(kept) == 2
    assert all(kept[name].equals(kept[f"{name}_before"].rename(name)) for name in scores)
    neurons = metrics[metrics["variant"] == "neurons"].set_index("token")
    assert neurons.loc["cls", "best_mcc"] != neurons.loc["cls_attention", "best_mcc"]
    assert not checkout.planned("--", *tables)

    passes = experiment["extraction"]["passes"]
    experiment["extraction"]["passes"] = [
        *passes,
        {"layers": [7]},
        {"layers": [8], "sites": ["mlp"]},
    ]
    checkout.write(config)
    assert not checkout.planned("--", *tables), "no dictionary of it is wanted"
    sweep["sites"].append("mlp")
    checkout.write(config)
    planned = checkout.planned("--", *tables)
    assert {rule for rule in planned if rule.startswith("extract")} == {
        f"{rule}3" for rule in EXTRACTED.values()
    }
    assert planned["train_sae"] == planned["probe_layer"] + 1 == 2

    places = {"before": "cls/L7", "attention": "cls_attention/L8", "mlp": "cls_mlp/L8"}
    folder = "results/small/trained/activations/eval"
    result = checkout.run("--", *(f"{folder}/{place}.json" for place in places.values()))
    assert result.returncode == 0, result.stdout + result.stderr
    manifests = {name: checkout.folder / folder / f"{p}.json" for name, p in places.items()}
    assert read_json(manifests["mlp"])["made_from"]["token"] == "cls_mlp"
    found = {name: read_activations(path).astype(float) for name, path in manifests.items()}
    after = read_activations(checkout.folder / folder / "cls" / "L8.json").astype(float)
    # Each of the four is rounded to float16 once.
    room = sum(
        np.spacing(abs(x).astype(np.float16)).astype(float) for x in (*found.values(), after)
    )
    assert (abs(sum(found.values()) - after) <= room).all()
    assert abs(found["before"] + found["mlp"] - after).max() > 10 * room.max()
