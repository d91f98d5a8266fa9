"""The log of a training: a row for each interval, which a checkpoint keeps."""

import numpy as np

from cladescope.dictionaries.training.spec import Stretch

DENSE_RATE = 0.5
"""Share of rows above which a latent that fires is dense."""


class Log:
    """What a run reports: the mean of each interval, one row per interval."""

    def __init__(self, width: int, d: int):
        self._d = d
        self._rows: dict[str, list[float]] = {}
        self._sums: dict[str, float] = {}
        self._firing = np.zeros(width, np.int64)

    def add(self, stretch: Stretch, batch: int) -> None:
        """Take in what some steps on `batch` rows each report."""
        report = stretch.total
        values = {f"mean.{name}": value for name, value in report.losses.items()}
        values |= {"mean.gradient_norm": report.gradient_norm}
        values |= {"squared_error": report.squared_error}
        values |= {"rows": float(stretch.steps * batch), "steps": float(stretch.steps)}
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._firing += report.firing

    def close_interval(self, step: int, images: int, dead_share: float, rate: float) -> None:
        """Write the row of the interval that ends with `step`."""
        sums, rows = self._sums, self._sums["rows"]
        # E‖x'‖² = d: the normalisation has made the variance 1.
        row = {
            "step": step,
            "images": images,
            "fve": 1 - sums["squared_error"] / (rows * self._d),
            "l0": self._firing.sum() / rows,
            "dead_share": dead_share,
            "dense_share": (self._firing > DENSE_RATE * rows).mean(),
            "learning_rate": rate,
        }
        for name in sorted(name for name in sums if name.startswith("mean.")):
            row[name.removeprefix("mean.")] = sums[name] / sums["steps"]
        for name, value in row.items():
            self._rows.setdefault(name, []).append(float(value))
        self._sums = {}
        self._firing[:] = 0

    def columns(self) -> dict[str, np.ndarray]:
        """Return the log so far; step and images are integers."""
        return {
            name: np.array(self._rows[name], np.int64 if name in ("step", "images") else np.float64)
            for name in sorted(self._rows)
        }

    def state(self) -> dict[str, np.ndarray]:
        """Return the log and the interval under way as arrays."""
        rows = {f"log.row.{name}": np.array(values) for name, values in self._rows.items()}
        sums = {f"log.sum.{name}": np.array(value) for name, value in self._sums.items()}
        return {**rows, **sums, "log.firing": self._firing}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for name, value in state.items():
            if name.startswith("log.row."):
                self._rows[name.removeprefix("log.row.")] = value.tolist()
            elif name.startswith("log.sum."):
                self._sums[name.removeprefix("log.sum.")] = float(value)
        self._firing = state["log.firing"]
