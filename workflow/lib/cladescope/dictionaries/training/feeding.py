"""Batches of a block of rows on a torch device, and blocks that are brought there ahead."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from cladescope.dictionaries.training.batches import Batches, Block, in_turn


def ahead(rows: Iterable[Shaped[np.ndarray, "rows d"]], device: torch.device) -> Iterator[Block]:
    """Yield blocks of rows; while one is worked on, the next is read and copied to the device.

    A thread does so, on a stream of its own, so that neither the steps that are queued nor those
    that are being queued wait. Where two blocks do not fit the next is read only. What fails in
    reading a block is raised when it would be its turn.
    """
    blocks = in_turn(rows)

    def following(present: Block | None) -> Block | None:
        block = next(blocks, None)
        if block and block is not present:
            with torch.cuda.stream(_aside(device)) if device.type == "cuda" else nullcontext():
                block.on(device, present)
        return block

    with ThreadPoolExecutor(1) as thread:
        block = following(None)
        while block:
            coming = thread.submit(following, block)
            yield block
            block = coming.result()


@cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, where what is queued next finds it; waits for nothing."""
    here = tensor.pin_memory() if device.type == "cuda" else tensor
    return here.to(device, non_blocking=True)


class Feed:
    """Brings batches of rows to a device.

    A block that fits lies there as a whole, for all dictionaries that train on it, and its rows are
    picked there. Of a larger one batches are picked in pinned memory, one ahead of the device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        # Weak, lest the block of the last batches stays on the device beside the next.
        self._orders: WeakKeyDictionary[Batches, Tensor] = WeakKeyDictionary()
        self._pinned: list[tuple[Tensor, torch.cuda.Event]] = []

    def batches(self, batches: Batches, some: range) -> Iterator[Tensor]:
        """Yield some of the batches, as raw as in memory; each until the next is asked for."""
        rows = batches.block.on(self.device)
        if rows is None:
            yield from self._picked_here(batches, some)
            return
        if batches not in self._orders:
            whole = len(batches.order) // batches.size * batches.size
            order = sent(torch.from_numpy(batches.order[:whole]), self.device)
            self._orders[batches] = order.view(-1, batches.size).sort().values
        order = self._orders[batches]
        for batch in some:
            yield rows[order[batch]]

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
