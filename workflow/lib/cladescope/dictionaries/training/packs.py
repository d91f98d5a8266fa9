"""Several dictionaries trained from one reading of a source, each to the bits that it has alone.

It pays where reading takes longest, as for patch tokens from a slow disk. The fits of a pack run in
threads that take turns: one works while the others wait, block by block. A fit knows nothing of the
others, so that its result cannot depend on them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from threading import Condition, Thread

import numpy as np
from jaxtyping import Shaped

from cladescope.dictionaries.training.batches import Source


def train_pack(source: Source, fits: Sequence[Callable[[Source], None]]) -> None:
    """Run `fits`, each with a view of `source`, and read every block of it once for all.

    A fit that continues from a checkpoint joins at the block where it was. When one fails the
    others go on to their end.

    Raises
    ------
    BaseException
        The first fit's that failed.
    """
    turns = _Turns(source, len(fits))
    errors: list[BaseException] = []

    def run(number: int) -> None:
        turns.take(number)
        try:
            fits[number](_View(turns, number))
        except BaseException as error:
            errors.append(error)
        finally:
            turns.leave(number)

    # Daemons, so that an interrupted job does not wait for them.
    threads = [Thread(target=run, args=(number,), daemon=True) for number in range(len(fits))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class _Turns:
    """Whose turn it is, and the block that is read."""

    def __init__(self, source: Source, n: int):
        self.source = source
        self._changed = Condition()
        self._busy = False
        # By reader the block that it needs next; all begin with the first, to initialise.
        self._needed = dict.fromkeys(range(n), 0)
        self._number = -1
        self._rows: np.ndarray
        self._stream: Iterator[np.ndarray] = iter(())

    def take(self, reader: int) -> None:
        """Wait for the turn of a reader: until nobody works and nobody needs an earlier block."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._busy and self._needed[reader] == min(self._needed.values())
            )
            self._busy = True

    def give(self) -> None:
        """End the turn of whoever has it."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def leave(self, reader: int) -> None:
        """End the turn of a reader that needs no more blocks."""
        del self._needed[reader]
        self.give()

    def block(self, reader: int, number: int) -> Shaped[np.ndarray, "rows d"]:
        """Return a block in the reader's turn, after those whose turn comes before."""
        self._needed[reader] = number
        self.give()
        self.take(reader)
        if number != self._number:
            if number != self._number + 1 or self._number < 0:
                self._stream = self.source.blocks(number)
            self._rows, self._number = next(self._stream), number
        return self._rows


class _View:
    """What one fit sees of the source."""

    def __init__(self, turns: _Turns, reader: int):
        self._turns = turns
        self._reader = reader
        source = turns.source
        self.n_rows, self.tokens, self.d = source.n_rows, source.tokens, source.d
        self.rows_per_block = source.rows_per_block

    def blocks(self, first: int = 0) -> Iterator[Shaped[np.ndarray, "rows d"]]:
        """Yield blocks from number `first`, each in this fit's turn."""
        for number in count(first):
            yield self._turns.block(self._reader, number)
