"""The figures of a finished study as a page of the documentation."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from cladescope.files import read_json, write_aside, write_json
from cladescope.operations.pages import fill_in
from cladescope.provenance.fingerprint import fingerprint

TITLES = {
    "scores": "Scores by layer",
    "by_size": "Scores by the size of a node",
    "surface": "The whole sweep",
    "recovered_nodes": "Recovered nodes on the tree",
    "pairs": "Latents on pairs of images that differ in one thing",
    "sensitivity": "Sensitivity to the cut-offs",
    "top_images": "Latents that match a node best",
    "examples": "Where in the image",
    "ablation": "What the model loses without a node's latents",
    "uses": "What codes are good for",
    "frontier": "Hierarchy against reconstruction",
    "quality": "Reconstruction against sparsity",
    "training_curves": "Training",
}
"""Figures in the order of the page."""
PAGE = Path("docs") / "gallery.md"
EVIDENCE = Path("docs") / "evidence_demo.md"
"""The study's page of evidence, whose first section README quotes."""
QUOTES = {
    Path("README.md"): EVIDENCE,
    Path("docs") / "real.md": Path("docs") / "evidence_real.md",
}
"""Pages that quote the first section of a page of evidence."""
MARK = "<!-- from {}, by make gallery -->"
"""What it begins with there."""
PICTURES = Path("docs") / "figures" / "gallery"
QUALITY = 85


def write_gallery(results: str | Path, checkout: Path) -> None:
    """Copy a study's figures into the documentation and write the page that shows them.

    Beside the figures, `made_by.json` holds the fingerprint of the code that drew each, so that a
    test can tell when the page no longer shows what the code draws.

    Raises
    ------
    FileNotFoundError
        Lists the figures that the study lacks.
    """
    evidence = Path(results) / "tables" / "evidence.md"
    figures = {name: Path(results) / "figures" / f"{name}.png" for name in TITLES}
    missing = [str(path) for path in (*figures.values(), evidence) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} not there; finish the run first")
    for name, path in figures.items():
        with write_aside(checkout / PICTURES / f"{name}.webp") as aside, Image.open(path) as image:
            # A tenth of the size, for the sheets of images; the repository keeps every version.
            image.convert("RGB").save(aside, "WEBP", quality=QUALITY)
    write_json(checkout / PICTURES / "made_by.json", drawing_code(checkout))
    with write_aside(checkout / PAGE) as aside:
        aside.write_text(page(checkout))
    with write_aside(checkout / EVIDENCE) as aside:
        aside.write_text(evidence.read_text())
    for page_path, source in QUOTES.items():
        text = quoting(checkout, page_path, source)
        with write_aside(checkout / page_path) as aside:
            aside.write_text(text)


def quoting(checkout: Path, page_path: Path, source: Path) -> str:
    """Return a page with the first section of its source between its two marks."""
    section = (checkout / source).read_text().split("\n## ")[1].partition("\n")[2].strip()
    return fill_in((checkout / page_path).read_text(), MARK.format(source.name), section)


def drawing_code(checkout: Path) -> dict[str, str]:
    """Return the fingerprint of the code that draws each figure."""
    scripts = checkout / "workflow" / "scripts"
    return {name: fingerprint(scripts / f"plot_{name}.py") for name in TITLES}


def outdated(checkout: Path) -> list[str]:
    """Return the figures of the page that were drawn by other code than today's."""
    shown: Mapping[str, str] = read_json(checkout / PICTURES / "made_by.json")
    return [name for name, code in drawing_code(checkout).items() if shown.get(name) != code]


def page(checkout: Path) -> str:
    """Return the page: a title, the picture and the report's caption of each figure."""
    captions = checkout / "workflow" / "report"
    parts = [
        "# Gallery\n\nFigures of the embedded default (`make demo`), put here by `make gallery`. "
        "The captions are those of the report.\n"
    ]
    for name, title in TITLES.items():
        caption = (captions / f"{name}.rst").read_text().strip().replace("``", "`")
        picture = (PICTURES / f"{name}.webp").relative_to(PAGE.parent)
        parts.append(f"## {title}\n\n![{title}]({picture.as_posix()})\n\n{caption}\n")
    return "\n".join(parts)
