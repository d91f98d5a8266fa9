"""Sheets of images: a row per latent, with words on the left."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


class Sheet:
    """A grid of cells for images; what no image is put into stays blank."""

    def __init__(self, rows: int, columns: int, title: str):
        rows = max(rows, 1)
        self.figure, self.cells = plt.subplots(
            rows, columns, figsize=(columns * 0.75 + 3.2, rows * 0.8 + 0.6), squeeze=False
        )
        self.figure.suptitle(title, x=0.02, ha="left")
        for axis in self.cells.flat:
            axis.set_axis_off()

    def row(self, number: int, words: str) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
        """Write beside a row; return its cells (matplotlib axes)."""
        first: Axes = self.cells[number, 0]
        first.text(
            -0.15, 0.5, words, transform=first.transAxes, ha="right", va="center", fontsize=8
        )
        return self.cells[number]

    def finished(self) -> Figure:
        """Lay the sheet out."""
        self.figure.subplots_adjust(
            left=2.6 / self.figure.get_figwidth(),
            right=0.99,
            top=1 - 0.5 / self.figure.get_figheight(),
            bottom=0.01,
            wspace=0.05,
            hspace=0.08,
        )
        return self.figure
