"""A contact sheet, to see with one's own eyes that every picture shows its synset."""

from pathlib import Path

from PIL import Image, ImageDraw

from cladescope.emoji.tables import Noun, Vendor
from cladescope.files import write_aside

TILE = 64
LABEL = 130
COLUMNS = 4


def draw_sheet(nouns: list[Noun], vendors: list[Vendor], pictures: Path, path: str | Path) -> None:
    """Write an image with a row for each noun: its synset, and a picture by each vendor."""
    width = LABEL + TILE * len(vendors)
    rows = -(-len(nouns) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * TILE), "white")
    canvas = ImageDraw.Draw(sheet)
    for place, noun in enumerate(nouns):
        left, top = place // rows * width, place % rows * TILE
        canvas.text((left + 4, top + TILE // 2 - 6), noun.synset, fill="black")
        for column, vendor in enumerate(vendors):
            if vendor.name in noun.icons:
                with Image.open(pictures / noun.wnid / f"{vendor.name}_00.png") as picture:
                    tile = picture.resize((TILE, TILE))
                sheet.paste(tile, (left + LABEL + column * TILE, top))
    with write_aside(path) as aside:
        sheet.save(aside, "PNG")
