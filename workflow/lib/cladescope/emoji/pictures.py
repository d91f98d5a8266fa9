"""An icon becomes pictures: turned, mirrored and placed on a background, all of it random.

The random stream of a picture depends on the seed, the class, the vendor and the picture's number,
and on nothing else.
"""

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

SIDE = 192
"""Side of a picture in pixels."""
DRAWN = 256
"""Side at which an icon is drawn before it is turned and made smaller."""


def rasterise(svg: str) -> Image.Image:
    """Draw an SVG document as RGBA, DRAWN pixels wide and high; a ValueError if nothing is seen."""
    # From the packages of envs/real.txt, not of the environment.
    import resvg_py

    # Without fonts: the icons have no text, and fonts differ between machines.
    content = resvg_py.svg_to_bytes(
        svg_string=svg, width=DRAWN, height=DRAWN, skip_system_fonts=True
    )
    image = Image.open(BytesIO(bytes(content))).convert("RGBA")
    if not np.asarray(image)[..., 3].any():
        raise ValueError("the icon is empty")
    return image.resize((DRAWN, DRAWN), Image.Resampling.LANCZOS)


def draw_picture(icon: Image.Image, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Place an icon in a scene; SIDE pixels wide and high.

    Returns
    -------
    The picture, RGB, and where the icon hides half of what is behind it or more: 1, else 0.
    """
    picture = _background(random)
    if random.random() < 0.5:
        icon = icon.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Premultiplied, so that transparent pixels lend no colour to the edges.
    turned = icon.convert("RGBa").rotate(
        random.uniform(-25, 25), Image.Resampling.BILINEAR, expand=True
    )
    scale = SIDE * random.uniform(0.5, 0.8) / DRAWN
    size = (round(turned.width * scale), round(turned.height * scale))
    small = turned.resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    # timm's crop cuts a sixteenth off each side, so the middle moves by up to a tenth.
    middle = SIDE * (0.5 + random.uniform(-0.1, 0.1, 2))
    left, top = (round(at - side / 2) for at, side in zip(middle, size, strict=True))
    picture.paste(small, (left, top), small)
    mask = Image.new("L", picture.size)
    mask.paste(small.getchannel("A").point(lambda alpha: alpha >= 128), (left, top))
    return picture, mask


def picture_random(seed: int, wnid: str, vendor: int, number: int) -> np.random.Generator:
    """Return the random stream of one picture; `vendor` is the row in the table of vendors."""
    return np.random.default_rng([seed, int(wnid[1:]), vendor, number])


def _background(random: np.random.Generator) -> Image.Image:
    """Draw a gradient of two colours, a cloudy texture and up to four simple shapes."""
    first, second = random.uniform(0, 255, (2, 3))
    angle = random.uniform(0, 2 * np.pi)
    across = np.linspace(-1, 1, SIDE)
    slope = np.cos(angle) * across[None, :] + np.sin(angle) * across[:, None]
    share = ((slope / np.abs(slope).max() + 1) / 2)[..., None]
    cells = int(random.integers(3, 24))
    noise = random.normal(0, random.uniform(0, 30), (cells, cells)).astype(np.float32)
    texture = np.asarray(Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    colours = first * (1 - share) + second * share + texture[..., None]
    picture = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    canvas = ImageDraw.Draw(picture, "RGBA")
    for _ in range(int(random.integers(0, 5))):
        colour = (*(int(level) for level in random.integers(0, 256, 3)), 160)
        x, y = random.uniform(0, SIDE, 2)
        width, height = random.uniform(SIDE / 12, SIDE / 3, 2)
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        kind = random.integers(0, 3)
        if kind == 0:
            canvas.ellipse(box, fill=colour)
        elif kind == 1:
            canvas.rectangle(box, fill=colour)
        else:
            canvas.polygon([(box[0], box[3]), (x, box[1]), (box[2], box[3])], fill=colour)
    return picture
