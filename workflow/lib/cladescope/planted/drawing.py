"""A small drawing language: filled polygons in a unit box, coloured by role.

A drawing is a sequence of `Shape`s in the box [-1, 1] x [-1, 1], x to the right and y down. A shape
names a colour *role*; which colour a role has is a nuisance of the image, so that no colour ever
tells one leaf from another. Ellipses and lines become polygons here, once, so that the renderer
needs a single operation.
"""

import math
from collections.abc import Iterable
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

ELLIPSE_CORNERS = 20
JOINT_CORNERS = 8


class Role(IntEnum):
    """What a shape's colour stands for; 0 is the background."""

    BODY = 1
    SHADE = 2
    ACCENT = 3
    DARK = 4
    LIGHT = 5


class Shape(NamedTuple):
    """A filled polygon: a colour role and its corners ((x, y), ...) in the unit box."""

    role: Role
    corners: tuple[tuple[float, float], ...]


Part = tuple[Shape, ...]


def polygon(role: Role, *xy: float) -> Part:
    """Return a polygon from its corners x0, y0, x1, y1, ..."""
    return (Shape(role, tuple(zip(xy[::2], xy[1::2], strict=True))),)


def box(role: Role, left: float, top: float, right: float, bottom: float) -> Part:
    """Return an upright rectangle."""
    return polygon(role, left, top, right, top, right, bottom, left, bottom)


def ellipse(role: Role, x: float, y: float, radius_x: float, radius_y: float | None = None) -> Part:
    """Return an upright ellipse, a circle if it has one radius."""
    radius_y = radius_x if radius_y is None else radius_y
    return (_ring(role, x, y, radius_x, radius_y, ELLIPSE_CORNERS),)


def line(role: Role, width: float, *xy: float) -> Part:
    """Return a polyline through x0, y0, x1, y1, ... with round joints, `width` thick."""
    points = list(zip(xy[::2], xy[1::2], strict=True))
    half = width / 2
    shapes = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        across, along = half * (y1 - y0) / length, half * (x1 - x0) / length
        corners = (
            (x0 - across, y0 + along),
            (x1 - across, y1 + along),
            (x1 + across, y1 - along),
            (x0 + across, y0 - along),
        )
        shapes.append(Shape(role, corners))
    shapes += [_ring(role, x, y, half, half, JOINT_CORNERS) for x, y in points[1:-1]]
    return tuple(shapes)


def dots(role: Role, radius: float, *xy: float) -> Part:
    """Return circles of one radius at x0, y0, x1, y1, ..."""
    centres = zip(xy[::2], xy[1::2], strict=True)
    return tuple(_ring(role, x, y, radius, radius, ELLIPSE_CORNERS) for x, y in centres)


def mirrored(part: Part) -> Part:
    """Return the part and its left-right mirror image."""
    return part + tuple(
        Shape(shape.role, tuple((-x, y) for x, y in shape.corners)) for shape in part
    )


def flipped_over(part: Part) -> Part:
    """Return the part and its top-bottom mirror image."""
    return part + tuple(
        Shape(shape.role, tuple((x, -y) for x, y in shape.corners)) for shape in part
    )


def _ring(role: Role, x: float, y: float, radius_x: float, radius_y: float, corners: int) -> Shape:
    turns = (2 * math.pi * i / corners for i in range(corners))
    points = tuple((x + radius_x * math.cos(t), y + radius_y * math.sin(t)) for t in turns)
    return Shape(role, points)


class Drawing:
    """A leaf's shapes, joined into one array of corners so that one transform moves them all."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        self.shapes = tuple(shapes)
        self._corners = np.array([corner for shape in self.shapes for corner in shape.corners])
        self._ends = np.cumsum([2 * len(shape.corners) for shape in self.shapes]).tolist()

    def paint(self, size: int, placement: np.ndarray) -> Image.Image:
        """Paint the drawing on an empty square.

        Parameters
        ----------
        size : int
            Side of the square, in pixels.
        placement : ndarray, shape (2, 3), float64
            Affine map from the unit box to pixels: (x, y, 1) to (column, row).

        Returns
        -------
        Image
            Mode "L", (size, size); a pixel's value is its `Role`, 0 where nothing is drawn.
        """
        x, y = self._corners[:, 0], self._corners[:, 1]
        # Spelled out rather than a matrix product, whose sum order depends on the BLAS build.
        moved = placement[:, :1] * x + placement[:, 1:2] * y + placement[:, 2:]
        flat = moved.T.ravel().tolist()
        canvas = Image.new("L", (size, size), 0)
        pen = ImageDraw.Draw(canvas)
        start = 0
        for shape, end in zip(self.shapes, self._ends, strict=True):
            pen.polygon(flat[start:end], fill=int(shape.role))
            start = end
        return canvas
