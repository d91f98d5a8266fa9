"""Triton kernels of the sparse step: each computes what `training.expressions` says in torch.

Sums run in an order that the code states: no atomic adds, one program for a row or a latent, whose
entries come in order. The same inputs give the same bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from cladescope.dictionaries.training.expressions import Entries, Extra, Weights

CHUNK = 8192
"""Columns of a row that are looked at together in the selection."""
LATENTS = 16
"""Latents that one program updates, one after the other."""
DIGITS = 256
"""Values of a byte of a key."""
# Triton takes global numbers only as its own constants.
BYTE = tl.constexpr(8)
LOW = tl.constexpr(0xFF)


@triton.jit
def _key(bits, BITS: tl.constexpr):
    """Return integers from 0 that are ordered as the floats are that so many bits write."""
    # A bfloat16's fit an int32, a float32's need one sign more.
    wide = bits.to(tl.int32 if BITS == 16 else tl.int64) & ((1 << BITS) - 1)
    wide = tl.where(wide == (1 << (BITS - 1)), 0, wide)  # −0
    return tl.where(wide >= (1 << (BITS - 1)), (1 << BITS) - 1 - wide, wide + (1 << (BITS - 1)))


@triton.jit
def _row_bounds(pre, bound, above, width, k, BITS: tl.constexpr, CHUNK: tl.constexpr):
    """Find the k-th largest key of a row, bit by bit, and how many are larger."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, CHUNK)
    found = tl.zeros([], tl.int32 if BITS == 16 else tl.int64)
    unit = found + (1 << (BITS - 1))
    more = tl.zeros([], tl.int32)
    for _ in range(BITS):
        trial = found | unit
        reaching = tl.zeros([], tl.int32)
        for first in range(0, width, CHUNK):
            inside = first + columns < width
            keys = _key(tl.load(pre + row * width + first + columns, mask=inside, other=0), BITS)
            reaching += tl.sum((inside & (keys >= trial)).to(tl.int32))
        enough = reaching >= k
        found = tl.where(enough, trial, found)
        more = tl.where(enough, more, reaching)
        unit = unit >> 1
    tl.store(bound + row, found)
    tl.store(above + row, more)


@triton.jit
def _digit_counts(
    pre, found, counts, width, SHIFT: tl.constexpr, BITS: tl.constexpr, CHUNK: tl.constexpr
):
    """Count a row's keys by a byte of theirs, those whose bytes above it are as found."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, CHUNK)
    chosen = tl.load(found)
    total = tl.zeros([LOW + 1], tl.int32)
    for first in range(0, width, CHUNK):
        inside = first + columns < width
        keys = _key(tl.load(pre + row * width + first + columns, mask=inside, other=0), BITS)
        inside = inside & ((keys >> (SHIFT + BYTE)) == chosen)
        digits = ((keys >> SHIFT) & LOW).to(tl.int32)
        total += tl.histogram(tl.where(inside, digits, 0), LOW + 1, mask=inside)
    tl.store(counts + row * (LOW + 1) + tl.arange(0, LOW + 1), total)


@triton.jit
def _compact(pre, bound, ties, offset, positions, width, BITS: tl.constexpr, CHUNK: tl.constexpr):
    """Write where a row's keys above the bound stand, and the first so many that equal it."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, CHUNK)
    least, room = tl.load(bound + row), tl.load(ties + row)
    out = positions + tl.load(offset + row)
    written = tl.zeros([], tl.int32)
    equal = tl.zeros([], tl.int32)
    for first in range(0, width, CHUNK):
        inside = first + columns < width
        keys = _key(tl.load(pre + row * width + first + columns, mask=inside, other=0), BITS)
        tied = (inside & (keys == least)).to(tl.int32)
        kept = (inside & (keys > least)) | ((tied > 0) & (equal + tl.cumsum(tied, 0) <= room))
        place = written + tl.cumsum(kept.to(tl.int32), 0) - 1
        tl.store(out + place, row * width + first + columns, mask=kept)
        written += tl.sum(kept.to(tl.int32))
        equal += tl.sum(tied)


def select_rows(pre: Tensor, k: int) -> Tensor:
    """Equal `expressions.select_rows`: `pre.sort(...).indices[:, :k]`, in order."""
    rows, width = pre.shape
    bits, key, sizes = _bits(pre)
    bound = torch.empty(rows, dtype=key, device=pre.device)
    above = torch.empty(rows, dtype=torch.int32, device=pre.device)
    _row_bounds[(rows,)](bits, bound, above, width, k, **sizes)
    offset = torch.arange(rows, device=pre.device) * k
    return _compacted(bits, bound, k - above, offset, rows * k, sizes)


def select_batch(pre: Tensor, n: int) -> Tensor:
    """Equal `expressions.select_batch`: `pre.flatten().sort(...).indices[:n]`, in order.

    The n-th largest key is found byte by byte, by counting the keys that begin as it does.
    """
    rows, width = pre.shape
    bits, key, sizes = _bits(pre)
    counts = torch.empty(rows, DIGITS, dtype=torch.int32, device=pre.device)
    found = torch.zeros(1, dtype=key, device=pre.device)
    above = torch.zeros(rows, dtype=torch.int64, device=pre.device)
    missing = torch.full((1,), n, dtype=torch.int64, device=pre.device)
    for shift in range(sizes["BITS"] - 8, -1, -8):
        _digit_counts[(rows,)](bits, found, counts, width, SHIFT=shift, **sizes)
        total = counts.sum(0)
        reaching = total.flip(0).cumsum(0).flip(0)
        # The largest digit that enough keys reach.
        digit = (reaching >= missing).sum(0, keepdim=True) - 1
        larger = torch.arange(DIGITS, device=pre.device) > digit
        above += (counts * larger).sum(1)
        missing = missing - (total * larger).sum()
        found = (found * DIGITS + digit).to(key)
    equal = counts.gather(1, digit.expand(rows, 1))[:, 0].long()
    ties = torch.minimum((missing - (equal.cumsum(0) - equal)).clamp(min=0), equal)
    kept = above + ties
    bound = found.expand(rows).contiguous()
    return _compacted(bits, bound, ties.to(torch.int32), kept.cumsum(0) - kept, n, sizes)


def _compacted(
    bits: Tensor, bound: Tensor, ties: Tensor, offset: Tensor, n: int, sizes: dict[str, int]
) -> Tensor:
    rows, width = bits.shape
    positions = torch.empty(n, dtype=torch.int64, device=bits.device)
    _compact[(rows,)](bits, bound, ties, offset, positions, width, **sizes)
    return positions


def _bits(pre: Tensor) -> tuple[Tensor, torch.dtype, dict[str, int]]:
    """Return the bits of the numbers, the type of keys, and the kernels' constants.

    So many columns are looked at together, by so many warps.
    """
    chunk = min(CHUNK, triton.next_power_of_2(pre.shape[1]))
    written, bits, key = {
        torch.bfloat16: (torch.int16, 16, torch.int32),
        torch.float32: (torch.int32, 32, torch.int64),
    }[pre.dtype]
    sizes = {"BITS": bits, "CHUNK": chunk, "num_warps": _warps(chunk)}
    return pre.contiguous().view(written), key, sizes


def _warps(columns: int) -> int:
    """Return the warps of a program; with fewer a thread's columns do not fit its registers."""
    return min(8, max(1, columns // 256))


@triton.jit
def _decode(
    centred, encoder, encoder_bias, decoder, latent, bounds,
    values, slopes, squares, pull, d, rows, scale,
    PARTS: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One row: values, what each part reconstructs, and then the gradients, last part first."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, D)
    inside = columns < d
    mine = tl.load(centred + row * d + columns, mask=inside, other=0.0)
    error = -mine
    for part in range(PARTS):
        segment = row * PARTS + part
        for entry in range(tl.load(bounds + segment), tl.load(bounds + segment + 1)):
            j = tl.load(latent + entry).to(tl.int64)
            up = tl.load(encoder + j * d + columns, mask=inside, other=0.0)
            value = tl.maximum(tl.sum(up * mine, 0) + tl.load(encoder_bias + j), 0.0)
            tl.store(values + entry, value)
            error += value * tl.load(decoder + j * d + columns, mask=inside, other=0.0)
        tl.store(squares + segment, tl.sum(error * error, 0))
        tl.store(pull + (part * rows + row) * d + columns, error, mask=inside)
    # What this program has written is read again by its other threads.
    tl.debug_barrier()
    later = tl.zeros([D], tl.float32)
    for back in range(PARTS):
        part = PARTS - 1 - back
        place = pull + (part * rows + row) * d + columns
        later += tl.load(place, mask=inside, other=0.0)
        tl.store(place, later * scale, mask=inside)
        segment = row * PARTS + part
        for entry in range(tl.load(bounds + segment), tl.load(bounds + segment + 1)):
            j = tl.load(latent + entry).to(tl.int64)
            down = tl.load(decoder + j * d + columns, mask=inside, other=0.0)
            slope = tl.sum(down * later, 0) * scale
            tl.store(slopes + entry, tl.where(tl.load(values + entry) > 0, slope, 0.0))


def decode(
    centred: Tensor, weights: Weights, entries: Entries, scale: float, parts: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Equal `expressions.decode`: `(encoder[latent] * centred[row]).sum(1)`, and on from there."""
    rows, d = centred.shape
    columns = triton.next_power_of_2(d)
    values, slopes = centred.new_empty(2, len(entries.latent))
    squares, pull = centred.new_empty(rows, parts), centred.new_empty(parts, rows, d)
    _decode[(rows,)](
        centred, weights.encoder, weights.encoder_bias, weights.decoder, entries.latent,
        entries.bounds, values, slopes, squares, pull, d, rows, scale,
        PARTS=parts, D=columns, num_warps=_warps(columns),
    )  # fmt: skip
    return values, slopes, squares, pull


@triton.jit
def _adam(mean, square, place, inside, slope, value, adam):
    """Update Adam's moments of one row; return where its step leads from `value`."""
    beta1, beta2 = tl.load(adam + 1), tl.load(adam + 2)
    m = beta1 * tl.load(mean + place, mask=inside, other=0.0) + (1 - beta1) * slope
    v = beta2 * tl.load(square + place, mask=inside, other=0.0) + (1 - beta2) * slope * slope
    tl.store(mean + place, m, mask=inside)
    tl.store(square + place, v, mask=inside)
    return value - tl.load(adam) * m / (tl.sqrt(v * tl.load(adam + 3)) + tl.load(adam + 4))


@triton.jit
def _update(
    centred, pull, row_of, values, slopes, starts, part_of,
    position, extra_encoder, extra_decoder, extra_bias,
    encoder, encoder_mean, encoder_square, decoder, decoder_mean, decoder_square,
    bias, bias_mean, bias_square, adam,
    squared, through, firing, width, rows, d,
    LATENTS: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Some latents, one after the other: sum the gradients, take Adam's step, keep unit norm."""
    block = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, D)
    inside = columns < d
    one = tl.arange(0, 1)
    passed = tl.zeros([D], tl.float32)
    norm = tl.zeros([], tl.float32)
    for j in range(block * LATENTS, tl.minimum((block + 1) * LATENTS, width)):
        up, down = tl.zeros([D], tl.float32), tl.zeros([D], tl.float32)
        slope = tl.zeros([], tl.float32)
        fired = tl.zeros([], tl.int64)
        first = pull + tl.load(part_of + j).to(tl.int64) * rows * d
        for number in range(tl.load(starts + j), tl.load(starts + j + 1)):
            row = tl.load(row_of + number).to(tl.int64)
            value, pushed = tl.load(values + number), tl.load(slopes + number)
            up += pushed * tl.load(centred + row * d + columns, mask=inside, other=0.0)
            down += value * tl.load(first + row * d + columns, mask=inside, other=0.0)
            slope += pushed
            fired += (value > 0).to(tl.int64)
        other = tl.load(position + j).to(tl.int64)
        if other >= 0:
            up += tl.load(extra_encoder + other * d + columns, mask=inside, other=0.0)
            down += tl.load(extra_decoder + other * d + columns, mask=inside, other=0.0)
            slope += tl.load(extra_bias + other)
        place = j * d + columns
        row_up = tl.load(encoder + place, mask=inside, other=0.0)
        row_down = tl.load(decoder + place, mask=inside, other=0.0)
        passed += slope * row_up
        down -= tl.sum(down * row_down, 0) * row_down
        norm += slope * slope + tl.sum(up * up, 0) + tl.sum(down * down, 0)
        up = _adam(encoder_mean, encoder_square, place, inside, up, row_up, adam)
        down = _adam(decoder_mean, decoder_square, place, inside, down, row_down, adam)
        length = tl.sqrt(tl.sum(tl.where(inside, down * down, 0.0), 0))
        tl.store(encoder + place, up, mask=inside)
        tl.store(decoder + place, down / length, mask=inside)
        always = one == 0
        old = tl.load(bias + j + one)
        new = _adam(bias_mean, bias_square, j + one, always, slope + 0.0 * one, old, adam)
        tl.store(bias + j + one, new)
        tl.store(firing + j, fired)
    tl.store(squared + block, norm)
    tl.store(through + block * d + columns, passed, mask=inside)


def update(
    centred: Tensor, pull: Tensor, entries: Entries, values: Tensor, slopes: Tensor, extra: Extra,
    part_of: Tensor, weights: Weights, means: Weights, squares: Weights, adam: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Equal `expressions.update`: `up.index_add_(0, latent, slopes * centred[row])`, and so on."""
    (rows, d), width = centred.shape, len(weights.encoder)
    blocks, columns = triton.cdiv(width, LATENTS), triton.next_power_of_2(d)
    # In the order of the latents, so that only rows are looked up in the kernel.
    places = entries.places
    squared, through = centred.new_empty(blocks), centred.new_empty(blocks, d)
    firing = torch.empty(width, dtype=torch.int64, device=centred.device)
    moments = [
        array
        for name in Weights._fields
        for array in (getattr(weights, name), getattr(means, name), getattr(squares, name))
    ]
    _update[(blocks,)](
        centred, pull, entries.row[places], values[places], slopes[places], entries.starts, part_of,
        extra.position, extra.encoder, extra.decoder, extra.encoder_bias,
        *moments, adam, squared, through, firing, width, rows, d,
        LATENTS=LATENTS, D=columns, num_warps=_warps(columns),
    )  # fmt: skip
    return squared, through, firing
