"""What a training step costs on a GPU, by count: operations, bytes and memory.

Nothing of it has been measured: `benchmarks/gpu.py` holds a step to it where there is a GPU.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FLOAT, HALF, INDEX = 4, 2, 8
"""Bytes of a number."""
ADAM_ARRAYS = 3
"""A parameter and its two moments."""
ADAM_PASSES = 30
"""Arrays of a parameter's size that Adam reads or writes by torch's operations, one by one."""
BATCH_ARRAYS = 11
"""Arrays of the batch's size that exist at a time, about."""
AUX_ARRAYS = 5
"""The same for AuxK, of batch × dead latents."""
DENSE_ARRAYS = 8
"""Arrays of batch × width that a dense step has at a time, about: JumpReLU's, which has most."""
GRADIENT_ARRAYS = 5
"""Those of width × d: two gradients, and what Adam's step makes of one."""
SMALL_STEP = 2**28
"""Bytes up to which a step shares a GPU with others.

It reads and writes them about once: 0.2 ms at the assumed rate of an H100, as long as the gaps
between its one to two hundred kernels. What works in more fills the GPU alone.
"""
LANES = 8
"""Small steps that work at a time: enough to fill each other's gaps, in 2 GB at most."""
ATTAINED = 0.5
"""Share of a card's peak rates that is assumed until measured."""


@dataclass(frozen=True)
class Card:
    """Peak rates of a GPU, of its maker's data sheet, without sparsity."""

    bfloat16: float
    """TFLOP/s of matrix products."""
    float32: float
    """TFLOP/s, without tensor cores."""
    bandwidth: float
    """TB/s of its memory."""
    memory: float
    """GB."""


CARDS = {
    "H200": Card(989, 67, 4.8, 141),
    "H100": Card(989, 67, 3.35, 80),
    "A100": Card(312, 19.5, 2.04, 80),
}
PROCESSOR = "processor"
"""In place of a card's name: the machine that plans."""
_SIDE, _TRIALS = 2048, 3


def this_processor() -> Card:
    """Measure this machine in a second: a product of matrices, and a copy, with all its threads."""
    import torch

    matrix = torch.ones(_SIDE, _SIDE)
    product = min(_seconds(lambda: matrix @ matrix) for _ in range(_TRIALS))
    copy = min(_seconds(lambda: matrix.clone()) for _ in range(_TRIALS))
    rate = 2 * _SIDE**3 / product / 1e12
    moved = 2 * matrix.nbytes / copy / 1e12
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    # Mixed precision is no faster on most processors.
    return Card(rate, rate, moved, memory)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Cost:
    """What a part of a step computes and moves."""

    part: str
    operations: float
    bytes: float
    in_bfloat16: bool = False

    def seconds(self, card: Card) -> float:
        """Return the time that it takes at the share of a card's peaks that is assumed."""
        rate = card.bfloat16 if self.in_bfloat16 else card.float32
        limits = self.operations / (rate * 1e12), self.bytes / (card.bandwidth * 1e12)
        return max(limits) / ATTAINED


def sparse_step(d: int, width: int, k: int, batch: int) -> list[Cost]:
    """Count a TopK step as if nothing stayed in a cache, without AuxK.

    The selection's passes over a row find it in the cache, but for the first and the one that
    writes what is kept.
    """
    entries, parameters = batch * k, 2 * width * d
    pre = batch * width * HALF
    return [
        Cost("encoder in bfloat16", 0, width * d * (FLOAT + HALF)),
        Cost("product", 2.0 * batch * d * width, pre + (batch + width) * d * HALF, True),
        Cost("selection", 17.0 * batch * width, 2 * pre + entries * INDEX),
        Cost("order", 0, 4 * entries * (INDEX + FLOAT)),
        Cost("values", 2.0 * entries * d, entries * d * FLOAT),
        Cost("decoding", 2.0 * entries * d, (entries + 4 * batch) * d * FLOAT),
        Cost("gradient of values", 2.0 * entries * d, entries * d * FLOAT),
        Cost("gradient of weights", 4.0 * entries * d, 2 * entries * d * FLOAT),
        Cost("Adam", 12.0 * parameters, 2 * ADAM_ARRAYS * parameters * FLOAT),
    ]


def dense_step(d: int, width: int, batch: int) -> list[Cost]:
    """Count a dense step: seven products in float32, passes over the codes, without AuxK.

    The encoder's forward, the decoder's twice, and two backward for each of encoder and decoder.
    """
    parameters, codes = 2 * width * d, batch * width * FLOAT
    return [
        Cost("products", 14.0 * batch * d * width, 14 * codes),
        Cost("codes", 0, 12 * codes),
        Cost("Adam", 12.0 * parameters, ADAM_PASSES * parameters * FLOAT),
    ]


def dictionary_memory(width: int, d: int) -> int:
    """Return the bytes that a dictionary in training holds: parameters and two moments."""
    return 2 * ADAM_ARRAYS * width * d * FLOAT


def step_memory(width: int, d: int, batch: int) -> int:
    """Return the bytes that a sparse step works in.

    The encoder and the pre-activations in the precision that selects, AuxK's arrays if all latents
    are dead, and some of the batch's size, among them five errors for Matryoshka's parts.
    """
    selecting = (width * d + batch * width) * HALF
    return selecting + batch * (AUX_ARRAYS * width + BATCH_ARRAYS * d) * FLOAT


def dense_step_memory(width: int, d: int, batch: int) -> int:
    """Return the bytes that a dense step works in, about.

    Codes and AuxK's arrays if all latents are dead, and gradients with what Adam makes of them.
    """
    codes = batch * ((DENSE_ARRAYS + AUX_ARRAYS) * width + BATCH_ARRAYS * d)
    return (codes + GRADIENT_ARRAYS * width * d) * FLOAT


def shared_memory(steps: Sequence[int]) -> int:
    """Return the bytes that steps work in which need so many each, as lanes share them."""
    small = sorted(step for step in steps if step <= SMALL_STEP)
    return sum(small[-LANES:]) + max((step for step in steps if step > SMALL_STEP), default=0)


def widest(memory: float, d: int, batch: int, counted: Callable[..., int] = step_memory) -> int:
    """Return the largest width, in whole thousands, that trains in so many bytes.

    `counted` gives the bytes that its step works in.
    """
    without = counted(0, d, batch)
    per_latent = dictionary_memory(1, d) + counted(1, d, batch) - without
    return int((memory - without) / per_latent) // 1000 * 1000
