"""The documentation's pictures are those that the code draws."""

import shutil

from cladescope.gallery import PAGE, TITLES, outdated, page, write_gallery


def test_every_figure_is_shown_by_the_code_that_draws_it(root):
    scripts = {path.stem for path in (root / "workflow" / "scripts").glob("plot_*.py")}
    assert {f"plot_{name}" for name in TITLES} == scripts
    assert outdated(root) == [], "make demo gallery"
    assert (root / PAGE).read_text() == page(root), "make demo gallery"


def test_gallery_of_other_code_is_outdated(root, tmp_path):
    shutil.copytree(root / "workflow", tmp_path / "workflow")
    figures = tmp_path / "results" / "figures"
    figures.mkdir(parents=True)
    for name in TITLES:
        (figures / f"{name}.png").write_bytes(b"picture")
    write_gallery(tmp_path / "results", tmp_path)
    assert outdated(tmp_path) == []
    script = tmp_path / "workflow" / "scripts" / "plot_scores.py"
    script.write_text(script.read_text() + "\nprint()\n")
    assert outdated(tmp_path) == ["scores"]
