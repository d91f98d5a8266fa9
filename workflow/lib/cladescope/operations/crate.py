"""What is in an archive, for machines: an RO-Crate 1.1 (w3id.org/ro/crate/1.1).

The metadata is a small JSON document, so it is written as the specification says, by no library.
"""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

METADATA = "ro-crate-metadata.json"
VERSION = "https://w3id.org/ro/crate/1.1"
FORMATS = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}
"""Media types of what an archive holds, by a file's last suffix; of others none is given."""


def describe_crate(
    files: Mapping[str, bytes], name: str, published: str, datasets: Mapping[str, Any]
) -> bytes:
    """Return the metadata of a folder as an RO-Crate: UTF-8, the same bytes for the same arguments.

    No licence is named: it is for those to choose who deposit the study.

    Parameters
    ----------
    files
        Path below the folder -> content, of every file but the metadata and the checksums. Among
        them each experiment's `provenance.json`, which tells the commits of the code.
    name
        Of the study.
    published
        The day on which the results were made, as in `2026-11-30`.
    datasets
        Of the configuration, for the description.
    """
    records = [json.loads(data) for path, data in files.items() if path.endswith("provenance.json")]
    commits = sorted(
        {
            place["git_commit"]
            for record in records
            for place in record["places"].values()
            if place["git_commit"]
        }
    )
    entities = [_file(path, data) for path, data in sorted(files.items())]
    software = {
        "@id": "#cladescope",
        "@type": "SoftwareApplication",
        "name": "Cladescope",
        **({"version": ", ".join(commits)} if commits else {}),
    }
    parts = [{"@id": entity["@id"]} for entity in entities]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": name,
        "description": (
            "Tables and figures of a study of the class hierarchy in a vision model's activations "
            f"({', '.join(record['experiment'] for record in records)}; images: "
            f"{', '.join(datasets)}), with the configuration and what made every number. "
            "docs/scores.md defines the columns."
        ),
        "datePublished": published,
        "hasPart": parts,
        "mentions": {"@id": "#run"},
    }
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "The run of the workflow",
        "instrument": {"@id": "#cladescope"},
        "object": {"@id": "config.yaml"},
        "result": [part for part in parts if part["@id"].startswith(("tables/", "figures/"))],
    }
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": VERSION},
        "about": {"@id": "./"},
    }
    document = {
        "@context": f"{VERSION}/context",
        "@graph": [descriptor, root, *entities, run, software],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _file(path: str, data: bytes) -> dict[str, str]:
    """Return the entity of one file; sizes are text in bytes, as the specification has them."""
    media = FORMATS.get(PurePosixPath(path).suffix)
    return {
        "@id": path,
        "@type": "File",
        "name": PurePosixPath(path).name,
        "contentSize": str(len(data)),
        **({"encodingFormat": media} if media else {}),
    }
