"""Batches of a block of rows on a torch device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cladescope.dictionaries.training.batches import Batches


class Feed:
    """Brings batches of rows to a device.

    A block that fits lies there as a whole, for all dictionaries that train on it, and its rows are
    picked there. Of a larger one batches are picked in pinned memory, one ahead of the device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._order: tuple[Batches, Tensor] | None = None
        self._pinned: list[tuple[Tensor, torch.cuda.Event]] = []

    def batches(self, batches: Batches, some: range) -> Iterator[Tensor]:
        """Yield some of the batches, as raw as in memory; each until the next is asked for."""
        rows = batches.block.on(self.device)
        if rows is None:
            yield from self._picked_here(batches, some)
            return
        if self._order is None or self._order[0] is not batches:
            order = torch.from_numpy(batches.order).to(self.device)
            whole = len(order) // batches.size * batches.size
            self._order = batches, order[:whole].view(-1, batches.size).sort().values
        for batch in some:
            yield rows[self._order[1][batch]]

    def _picked_here(self, batches: Batches, some: range) -> Iterator[Tensor]:
        rows = torch.from_numpy(batches.block.rows)
        if not self._pinned:
            shape = (batches.size, rows.shape[1])
            self._pinned = [
                (torch.empty(shape, dtype=rows.dtype, pin_memory=True), torch.cuda.Event())
                for _ in range(2)
            ]
        for number, batch in enumerate(some):
            pinned, copied = self._pinned[number % 2]
            copied.synchronize()
            torch.index_select(rows, 0, torch.from_numpy(batches.places(batch)), out=pinned)
            moved = pinned.to(self.device, non_blocking=True)
            copied.record()
            yield moved
