"""Ablation through Snakemake: made where it is wanted, again when what it depends on changes."""

from cladescope.summary.tables import read_csv

MADE = {"tabulate_ablation": 1, "plot_ablation": 1, "write_evidence": 1}


def test_ablation_is_made_and_follows_its_options(checkout, config):
    config["ablation"] = {"dictionaries": ["*/L8/*"], "latents": [1], "images": 2}
    checkout.write(config)
    planned = checkout.planned()
    # Nothing that was there without it, but what tells of it.
    assert planned.pop("tabulate_costs") == 1
    assert planned == {**MADE, "ablate": 3}
    result = checkout.run()
    assert result.returncode == 0, result.stdout + result.stderr
    results = checkout.folder / "results" / "small"
    table = read_csv(results / "tables" / "ablation.csv")
    assert set(table["variant"]) == {"topk", "neurons"} and set(table["layer"]) == {8}
    assert set(table["readout"]) == {"head"} and (table["accuracy"] > 0.5).all()
    whole = table[table["size"] == "all"].set_index("variant")
    assert (whole["selectivity"] > whole["selectivity_null_matched"]).all()
    assert "## Does the model use it?" in (results / "tables" / "evidence.md").read_text()
    assert (results / "figures" / "ablation.png").is_file()
    assert not checkout.planned()

    made = sorted(results.glob("*/dictionaries/cls/L8/*/*/ablation.parquet"))
    before = [path.read_bytes() for path in made]
    made[0].unlink()
    assert checkout.run("--", str(made[0].relative_to(checkout.folder))).returncode == 0
    assert [path.read_bytes() for path in made] == before

    config["ablation"]["bootstrap_draws"] = 7
    checkout.write(config)
    assert "ablate" not in checkout.planned() and checkout.planned()["tabulate_ablation"] == 1
    config["ablation"]["images"] = 3
    checkout.write(config)
    assert checkout.planned()["ablate"] == 3


def test_a_pattern_that_names_nothing_stops_the_run(checkout, config):
    config["ablation"] = {"dictionaries": ["*/L7/*"]}
    checkout.write(config)
    result = checkout.run("-n")
    assert result.returncode == 1
    assert "ablation.dictionaries: */L7/* is none of the sweep" in result.stdout + result.stderr
