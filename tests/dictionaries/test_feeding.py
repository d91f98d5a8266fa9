"""Rows on their way to a device: picked there, and a block ahead.

There is no GPU where these tests run: what is copied stays on the processor, and pinned memory
and streams are not tested here.
"""

import threading

import numpy as np
import pytest
import torch

from cladescope.dictionaries.training import batches as batches_module
from cladescope.dictionaries.training.batches import DEVICE_SHARE, Batches, Block, in_turn
from cladescope.dictionaries.training.feeding import Feed, ahead

CPU = torch.device("cpu")
SECONDS = 20


def test_batches_picked_on_the_device_are_those_picked_in_memory():
    """The other way, pinned memory, needs a GPU; what it picks is `Batches.places`."""
    rows = np.random.default_rng(0).standard_normal((400, 12), dtype=np.float32)
    batches = Batches(Block(rows), 64, 5, 2)
    feed = Feed(CPU)
    fed = [batch.numpy() for batch in feed.batches(batches, range(1, 6))]
    assert len(fed) == 5
    for number, batch in enumerate(fed, 1):
        assert np.array_equal(batch, batches[number])
    del batches
    assert not feed._orders


class Reading:
    """Blocks that say when they are read."""

    def __init__(self, n, fails=None):
        self.n, self.fails, self.read, self.threads = n, fails, [], []
        self.has_read = threading.Condition()

    def __iter__(self):
        for number in range(self.n):
            if number == self.fails:
                raise OSError(f"block {number} is damaged")
            with self.has_read:
                self.read.append(number)
                self.threads.append(threading.get_ident())
                self.has_read.notify_all()
            yield np.full((3, 2), number, np.float32)

    def wait_for(self, number):
        with self.has_read:
            assert self.has_read.wait_for(lambda: number in self.read, SECONDS)


def test_the_next_block_is_read_while_one_is_worked_on():
    reading, seen = Reading(5), []
    for number, block in enumerate(ahead(reading, CPU)):
        if number < 4:
            # Without a word from here.
            reading.wait_for(number + 1)
        assert reading.read == list(range(min(number + 2, 5)))
        # It was copied before it was asked for.
        assert block._copy is not None
        seen.append(block.rows[0, 0])
    assert seen == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in reading.threads[1:]


def test_what_fails_in_reading_ahead_fails_at_its_turn():
    blocks = ahead(Reading(5, fails=2), CPU)
    assert [next(blocks).rows[0, 0], next(blocks).rows[0, 0]] == [0, 1]
    with pytest.raises(OSError, match="block 2 is damaged"):
        next(blocks)


def test_no_thread_outlives_a_run_that_ends_early():
    before = threading.active_count()
    blocks = ahead(Reading(9), CPU)
    next(blocks)
    blocks.close()
    assert threading.active_count() == before


def test_the_same_rows_again_are_the_same_block():
    rows, others = np.zeros((3, 2)), np.zeros((3, 2))
    for read in (in_turn, lambda blocks: ahead(blocks, CPU)):
        first, again, other = read([rows, rows, others])
        assert first is again and other is not first


@pytest.mark.parametrize("beside", [False, True])
def test_two_blocks_take_no_more_than_their_share_of_the_device(beside, monkeypatch):
    """A mock: a device of so many bytes, to which a copy is a word."""
    gpu = torch.device("cuda")
    monkeypatch.setattr(batches_module, "_copied", lambda rows, device: "there")
    present, following = Block(np.zeros((10, 10))), Block(np.zeros((10, 10)))
    size = present.rows.nbytes
    memory = size * (1 + beside) / DEVICE_SHARE
    held = 0
    monkeypatch.setattr(batches_module, "free_memory", lambda device: memory - held)
    if beside:
        assert present.on(gpu) == "there"
        held = size
    memory -= 1
    assert following.on(gpu, present) is None
    memory += 1
    assert following.on(gpu, present) == "there"
