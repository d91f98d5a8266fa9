"""The documentation's pictures are those that the code draws."""

import shutil

import pytest
from PIL import Image

from cladescope.files import read_json, write_json
from cladescope.operations.gallery import (
    MARK,
    PAGE,
    PICTURES,
    QUOTES,
    TITLES,
    outdated,
    page,
    quoting,
    write_gallery,
)
from cladescope.operations.pages import END, fill_in


def test_every_figure_is_shown_by_the_code_that_draws_it(root):
    scripts = {path.stem for path in (root / "workflow" / "scripts").glob("plot_*.py")}
    # The embedded default has one trained network, and holds no latents against masks.
    elsewhere = ("architectures", "segmentation")
    assert {f"plot_{name}" for name in (*TITLES, *elsewhere)} == scripts
    assert outdated(root) == [], "make demo gallery"
    assert (root / PAGE).read_text() == page(root), "make demo gallery"


@pytest.mark.parametrize("quoting_page", QUOTES)
def test_pages_quote_what_the_studies_wrote(root, quoting_page):
    quoted = quoting(root, quoting_page, QUOTES[quoting_page])
    assert (root / quoting_page).read_text() == quoted, "make demo gallery"


def test_gallery_of_other_code_is_outdated(root, tmp_path):
    shutil.copytree(root / "workflow", tmp_path / "workflow")
    figures = tmp_path / "results" / "figures"
    figures.mkdir(parents=True)
    for name in TITLES:
        Image.new("RGB", (8, 8)).save(figures / f"{name}.png")
    tables = tmp_path / "results" / "tables"
    tables.mkdir()
    (tables / "evidence.md").write_text("# Page\n\n## In short\n\n| 1 |\n\n## More\n")
    (tmp_path / "docs").mkdir()
    shutil.copy(tables / "evidence.md", tmp_path / "docs" / "evidence_real.md")
    for quoting_page, source in QUOTES.items():
        begin = MARK.format(source.name)
        (tmp_path / quoting_page).write_text(f"before\n{begin}old{END}\nafter\n")
    write_gallery(tmp_path / "results", tmp_path)
    quoted = f"before\n{MARK.format('evidence_demo.md')}\n\n| 1 |\n\n{END}\nafter\n"
    assert (tmp_path / "README.md").read_text() == quoted
    assert outdated(tmp_path) == []
    pictures = tmp_path / PICTURES
    assert {path.stem for path in pictures.glob("*.webp")} == {*TITLES}
    known = read_json(pictures / "made_by.json")
    write_json(pictures / "made_by.json", {**known, "scores": "other code"})
    assert outdated(tmp_path) == ["scores"]


def test_a_page_without_marks_is_refused():
    assert fill_in(f"a <b> old {END} c", "<b>", "new") == f"a <b>\n\nnew\n\n{END} c"
    for page_without in ("a", "a <b>", f"{END} <b>"):
        with pytest.raises(ValueError, match="no <b> with <!-- end -->"):
            fill_in(page_without, "<b>", "new")
