"""The scenes of the planted world: everything in an image but the object, all of it random.

A scene is drawn from a random stream that depends on the world's seed, the split and the scene's
number, and on nothing else: neither on the class nor on how many images there are.
"""

import colorsys
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from cladescope.planted.drawing import Role

SPLITS = ("train", "eval", "pairs")

SUPERSAMPLING = 2  # drawn at twice the size and averaged: smooth edges, coverage in quarters

N_TEXTURES = 64
TEXTURE_SIDE = 128


@dataclass(frozen=True)
class PlantedSpec:
    """The identity of a planted world.

    Attributes
    ----------
    seed : int
        Seed of every random stream of the world; at least 0.
    image_size : int
        Side of an image, in pixels; from 16 to 112.
    """

    seed: int = 0
    image_size: int = 48

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"the planted world's seed must be at least 0, not {self.seed}")
        if not 16 <= self.image_size <= 112:
            raise ValueError(
                f"the planted world's image_size must be 16 to 112 pixels, not {self.image_size}"
            )


class Nuisance(NamedTuple):
    """What varies between the images of one class; the columns of the factors table."""

    background_hue: float  # turns, [0, 1)
    background_saturation: float
    background_value: float
    body_hue: float  # turns, [0, 1)
    body_saturation: float
    body_value: float  # at least .3 from the background's
    scale: float  # the unit box's side over the image's
    rotation: float  # degrees, clockwise
    flip: int  # 1: mirrored left to right
    x: float  # of the object's centre, in pixels from the left edge
    y: float  # of the object's centre, in pixels from the top edge
    aspect: float  # width over height of the drawn unit box, before rotation
    clutter: int  # number of background shapes
    texture: float  # standard deviation of the 1/f texture, in grey levels
    texture_slope: float  # exponent of its amplitude spectrum
    brightness: float  # gain
    noise: float  # standard deviation of the pixel noise, in grey levels


class Scene(NamedTuple):
    """Everything in an image but its object."""

    factors: Nuisance
    background: np.ndarray  # (size, size, 3) float32, grey levels
    texture: np.ndarray  # (size, size, 3) float32, added to background and object
    noise: np.ndarray  # (size, size, 3) float32, added last
    palette: tuple[int, ...]  # RGB of each Role, 0 being black
    placement: np.ndarray  # (2, 3) float64, unit box to supersampled pixels


def check_split(split: str) -> None:
    """Raise a ValueError if the planted world has no such split."""
    if split not in SPLITS:
        raise ValueError(f"the planted world has the splits {', '.join(SPLITS)}, not {split!r}")


def draw_scene(spec: PlantedSpec, split: str, number: int) -> Scene:
    """Draw one scene of a split.

    Raises
    ------
    ValueError
        If the split is none of `SPLITS`.
    """
    check_split(split)
    rng = np.random.default_rng([spec.seed, SPLITS.index(split), number])
    size = spec.image_size
    factors = _draw_nuisance(rng, size)
    canvas = Image.new("RGB", (size * SUPERSAMPLING,) * 2, _background_colour(factors))
    _scatter_clutter(rng, canvas, factors.clutter)
    texture = _crop_texture(rng, factors, size)
    noise = rng.standard_normal((size, size, 3), dtype=np.float32) * np.float32(factors.noise)
    return Scene(
        factors,
        np.asarray(canvas.reduce(SUPERSAMPLING), np.float32),
        texture,
        noise,
        _palette(factors),
        placement_of(factors, size),
    )


def _draw_nuisance(rng: np.random.Generator, size: int) -> Nuisance:
    background_value = rng.uniform(0.25, 0.85)
    contrast = rng.uniform(0.3, 0.5)
    body_value = background_value + rng.choice([-1, 1]) * contrast
    if not 0.2 <= body_value <= 1.0:
        body_value = background_value + (-contrast if body_value > 1 else contrast)
        body_value = min(max(body_value, 0.15), 1.0)
    scale = rng.uniform(0.5, 0.85)
    reach = 0.9 * (1 - scale) * size / 2  # keeps most of the object inside the image
    return Nuisance(
        background_hue=rng.random(),
        background_saturation=rng.uniform(0.1, 0.6),
        background_value=background_value,
        body_hue=rng.random(),
        body_saturation=rng.uniform(0.3, 0.9),
        body_value=float(body_value),
        scale=scale,
        rotation=rng.uniform(-35, 35),
        flip=int(rng.integers(2)),
        x=size / 2 + rng.uniform(-reach, reach),
        y=size / 2 + rng.uniform(-reach, reach),
        aspect=rng.uniform(0.8, 1.25),
        clutter=int(rng.integers(2, 7)),
        texture=rng.uniform(4, 22),
        texture_slope=rng.uniform(0.8, 2.0),
        brightness=rng.uniform(0.8, 1.2),
        noise=rng.uniform(2, 16),
    )


def _scatter_clutter(rng: np.random.Generator, canvas: Image.Image, count: int) -> None:
    pen = ImageDraw.Draw(canvas)
    side = canvas.width
    for _ in range(count):
        colour = _rgb(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.1, 1))
        x, y = rng.uniform(0, side, 2).tolist()
        radius = side * rng.uniform(0.04, 0.16)
        kind = rng.integers(3)
        if kind == 0:
            pen.ellipse((x - radius, y - 0.6 * radius, x + radius, y + 0.6 * radius), fill=colour)
        elif kind == 1:
            turns = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 6))).tolist()
            far = 1.3 * radius
            pen.polygon(
                [(x + far * math.cos(t), y + far * math.sin(t)) for t in turns], fill=colour
            )
        else:
            to_x, to_y = (np.array([x, y]) + rng.uniform(-4, 4, 2) * radius).tolist()
            pen.line((x, y, to_x, to_y), fill=colour, width=int(rng.integers(2, 6)))


@lru_cache(maxsize=1)
def _textures() -> tuple[np.ndarray, np.ndarray]:
    """Return slopes (n,) and 1/f^slope textures (n, side, side) float32 of mean 0, deviation 1."""
    rng = np.random.default_rng(0)
    slopes = np.linspace(0.8, 2.0, N_TEXTURES)
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(TEXTURE_SIDE),) * 2)) + 1 / TEXTURE_SIDE
    textures = np.empty((N_TEXTURES, TEXTURE_SIDE, TEXTURE_SIDE))
    for i, slope in enumerate(slopes):
        white = np.fft.fft2(rng.standard_normal((TEXTURE_SIDE, TEXTURE_SIDE)))
        textures[i] = np.fft.ifft2(white / frequency**slope).real
    textures -= textures.mean((1, 2), keepdims=True)
    textures /= textures.std((1, 2), keepdims=True)
    # Rounded, so that the last bits of an FFT library do not reach the pixels.
    return slopes, textures.round(3).astype(np.float32)


def _crop_texture(rng: np.random.Generator, factors: Nuisance, size: int) -> np.ndarray:
    slopes, textures = _textures()
    texture = textures[np.abs(slopes - factors.texture_slope).argmin()]
    top, left = rng.integers(0, TEXTURE_SIDE - size, 2)
    tint = rng.uniform(0.6, 1, 3).astype(np.float32)
    crop = texture[top : top + size, left : left + size, None]
    return crop * (np.float32(factors.texture) * tint)


def placement_of(factors: Nuisance, size: int) -> np.ndarray:
    """Return the (2, 3) affine map from the unit box to supersampled pixels."""
    half = SUPERSAMPLING * size / 2 * factors.scale
    wide, tall = half * math.sqrt(factors.aspect), half / math.sqrt(factors.aspect)
    mirror = -1 if factors.flip else 1
    cos, sin = math.cos(math.radians(factors.rotation)), math.sin(math.radians(factors.rotation))
    return np.array(
        [
            [mirror * wide * cos, -tall * sin, SUPERSAMPLING * factors.x],
            [mirror * wide * sin, tall * cos, SUPERSAMPLING * factors.y],
        ]
    )


def _background_colour(factors: Nuisance) -> tuple[int, int, int]:
    return _rgb(factors.background_hue, factors.background_saturation, factors.background_value)


def _palette(factors: Nuisance) -> tuple[int, ...]:
    hue, saturation, value = factors.body_hue, factors.body_saturation, factors.body_value
    shade = value + 0.25 if value < 0.4 else 0.6 * value
    colours = {
        Role.BODY: _rgb(hue, saturation, value),
        Role.SHADE: _rgb(hue, saturation, shade),
        Role.ACCENT: _rgb(hue + 0.42, 0.8, min(1, 0.8 * value + 0.25)),
        Role.DARK: _rgb(hue, 0.3, 0.08),
        Role.LIGHT: _rgb(hue, 0.12, 0.97),
    }
    return (0, 0, 0, *(channel for role in Role for channel in colours[role]))


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(255 * red), int(255 * green), int(255 * blue)
