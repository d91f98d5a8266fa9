"""Uses of codes through Snakemake: made where they are wanted, again when options change."""

from cladescope.summary.tables import read_csv

MADE = {"tabulate_uses": 1, "plot_uses": 1, "write_evidence": 1}
FEW = {"queries": 2, "shots": [1, 4], "draws": 2, "latents": [2, 1], "null_draws": 1}


def test_uses_are_made_and_follow_their_options(checkout, config):
    config["uses"] = {"dictionaries": ["*/L8/*"], **FEW}
    checkout.write(config)
    planned = checkout.planned()
    # Nothing that was there without them, but what tells of them.
    assert planned.pop("tabulate_costs") == 1
    assert planned == {**MADE, "measure_uses": 3}
    result = checkout.run()
    assert result.returncode == 0, result.stdout + result.stderr
    results = checkout.folder / "results" / "small"
    table = read_csv(results / "tables" / "uses.csv")
    assert set(table["variant"]) == {"topk", "neurons"} and set(table["layer"]) == {8}
    whole = table[table["size"] == "all"].set_index(["variant", "sparsity", "task", "measure"])
    found = whole.sort_index().loc[("topk", 4, "retrieval", "map")].set_index("level")
    assert (found["raw"] > 3 * found["chance"])["leaf"] and found["components"].unique() == [8]
    assert (found["codes"] > found["chance"]).all()
    assert {*table["nonzeros"].unique()} >= {2.0, 4.0}
    page = (results / "tables" / "evidence.md").read_text()
    assert "## What are the codes good for?" in page and "| raw activations |" in page
    assert (results / "figures" / "uses.png").is_file()
    assert not checkout.planned()

    made = sorted(results.glob("*/dictionaries/cls/L8/*/*/uses.parquet"))
    before = [path.read_bytes() for path in made]
    made[0].unlink()
    assert checkout.run("--", str(made[0].relative_to(checkout.folder))).returncode == 0
    assert [path.read_bytes() for path in made] == before

    config["uses"]["bootstrap_draws"] = 7
    checkout.write(config)
    assert "measure_uses" not in checkout.planned() and checkout.planned()["tabulate_uses"] == 1
    config["uses"]["shots"] = [4, 1]
    checkout.write(config)
    assert "measure_uses" not in checkout.planned()
    config["uses"]["queries"] = 3
    checkout.write(config)
    assert checkout.planned()["measure_uses"] == 3


def test_a_pattern_that_names_nothing_stops_the_run(checkout, config):
    config["uses"] = {"dictionaries": ["*/L7/*"]}
    checkout.write(config)
    result = checkout.run("-n")
    assert result.returncode == 1
    assert "uses.dictionaries: */L7/* is none of the sweep" in result.stdout + result.stderr
