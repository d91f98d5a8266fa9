"""The metadata of an archive, against what RO-Crate 1.1 says that it must have."""

import json
from datetime import date

from cladescope.operations.crate import METADATA, describe_crate

RECORD = {"experiment": "trained", "places": {"cls/L2": {"git_commit": "abc"}}}
FILES = {
    "tables/metrics.csv": b"a,b\n",
    "figures/scores.png": b"\x89PNG",
    "trained/provenance.json": json.dumps(RECORD).encode(),
    "config.yaml": b"results: r\n",
    "docs/scores.md": b"# Scores\n",
}


def described(files=FILES):
    return json.loads(describe_crate(files, "study", "2026-11-30", {"planted": {}}))


def test_what_the_specification_demands():
    """Its sections on the metadata file and the root data entity; and that the JSON-LD is flat."""
    document = described()
    assert document["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"]), "ids are unique"
    assert all("@type" in entity for entity in entities.values())

    descriptor = entities["ro-crate-metadata.json"]
    assert descriptor["@id"] == METADATA
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities[descriptor["about"]["@id"]]
    assert (root["@id"], root["@type"]) == ("./", "Dataset")
    assert root["name"] and root["description"]
    assert date.fromisoformat(root["datePublished"]) == date(2026, 11, 30)

    # Flat: an entity names others by their ids alone, and every id is there.
    named = [
        reference
        for entity in document["@graph"]
        for value in entity.values()
        for reference in (value if isinstance(value, list) else [value])
        if isinstance(reference, dict)
    ]
    assert all(reference.keys() == {"@id"} for reference in named)
    known = entities.keys() | {"https://w3id.org/ro/crate/1.1"}
    assert {reference["@id"] for reference in named} <= known


def test_every_file_is_a_part_with_its_size():
    entities = {entity["@id"]: entity for entity in described()["@graph"]}
    assert {part["@id"] for part in entities["./"]["hasPart"]} == FILES.keys()
    for path, data in FILES.items():
        assert entities[path]["@type"] == "File"
        assert entities[path]["contentSize"] == str(len(data))
    assert entities["tables/metrics.csv"]["encodingFormat"] == "text/csv"
    made = {part["@id"] for part in entities["#run"]["result"]}
    assert made == {"tables/metrics.csv", "figures/scores.png"}
    assert entities["#cladescope"]["version"] == "abc"


def test_without_git_no_version_is_made_up():
    record = {**RECORD, "places": {"cls/L2": {"git_commit": None}}}
    files = {**FILES, "trained/provenance.json": json.dumps(record).encode()}
    entities = {entity["@id"]: entity for entity in described(files)["@graph"]}
    assert "version" not in entities["#cladescope"]
