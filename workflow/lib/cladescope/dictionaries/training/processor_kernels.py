"""Compiled loops of the sparse TopK step: what numpy would do with large temporary arrays.

Every kernel works on one block of rows or of latents and releases the interpreter's lock, so that
threads can share a batch; no result depends on how many there are. Compiled code is kept until its
file changes: loops that call each other stand in one.
"""

import math

import numpy as np

from cladescope.compiled import compiled

LANES = 16
"""Columns of a vector register."""
DEPTH = 16
"""Columns that share one maximum in the selection; 32 is faster in wide rows, slower in others."""
TILE = LANES * DEPTH
SMALLEST = np.finfo(np.float32).tiny
"""What is not above this counts as not positive."""

BISECTIONS = 14

ROUNDING = np.float32(2.0**-8)
"""Largest relative error of a number rounded to bfloat16."""
SLACK = np.float32(1.01)
"""Bounds are widened by this, for how they are computed themselves and for second orders."""
LOWER_BITS = np.uint32(16)
"""Bits of a float32 that bfloat16 lacks."""

# Sums may be reordered to use vector registers; NaN and infinity keep their meaning, so that a
# diverged run is noticed.
REORDER = {"reassoc", "contract", "nsz", "arcp"}


@compiled(fastmath=REORDER | {"nnan"})
def find_bound(values: np.ndarray, k: int) -> np.float32:
    """Return a positive bound that at least k of the values reach, or all positive ones, if fewer.

    Few more than k reach it.
    """
    low = max(values.min(), SMALLEST)
    high = values.max()
    for _ in range(BISECTIONS):
        middle = np.float32(0.5) * (low + high)
        reaching = np.int32(0)
        for i in range(len(values)):
            reaching += np.int32(values[i] >= middle)
        if reaching >= k:
            low = middle
            if reaching <= k + k // 8:
                break
        else:
            high = middle
    return low


@compiled
def count_tiles(width: int, k: int) -> int:
    """Return the tiles of a row whose lanes are worth a maximum each: at least k lanes, or none."""
    return width // TILE if width // DEPTH >= 2 * k else 0


@compiled(fastmath=REORDER | {"nnan"})
def _maxima(z: np.ndarray, bias: np.ndarray, largest: np.ndarray) -> None:
    """Write the maximum of z + bias in each lane of each tile."""
    for tile in range(len(largest) // LANES):
        for lane in range(LANES):
            start = tile * TILE + lane
            top = z[start] + bias[start]
            for deep in range(1, DEPTH):
                top = max(top, z[start + deep * LANES] + bias[start + deep * LANES])
            largest[tile * LANES + lane] = top


@compiled(fastmath=REORDER | {"nnan"})
def select_largest(
    pre: np.ndarray, bias: np.ndarray, k: int, latents: np.ndarray, values: np.ndarray
) -> None:
    """Find the k largest positive entries of each row of pre + bias, exactly.

    In a wide row the maxima of column groups give a first bound that at least k entries reach, and
    only groups that reach it are looked into. A group is one lane of a tile of vectors, so that its
    maximum takes no shuffling. Among equals the lower latent is kept.

    Parameters
    ----------
    pre, bias
        float32 (rows, width) and (width,).
    k
        Entries to keep.
    latents, values
        int32 and float32 (rows, k), written: positive values by increasing latent, then empty
        places, which hold 0.
    """
    rows, width = pre.shape
    tiles = count_tiles(width, k)
    largest = np.empty(tiles * LANES, np.float32)
    columns = np.empty(width, np.int32)
    candidates = np.empty(width, np.float32)
    for row in range(rows):
        z = pre[row]
        bound = SMALLEST
        found = 0
        if tiles:
            _maxima(z, bias, largest)
            bound = find_bound(largest, k)
        for group in range(tiles * LANES):
            if largest[group] >= bound:
                start = group // LANES * TILE + group % LANES
                for column in range(start, start + TILE, LANES):
                    value = z[column] + bias[column]
                    candidates[found] = value
                    columns[found] = column
                    found += value >= bound
        for column in range(tiles * TILE, width):
            value = z[column] + bias[column]
            candidates[found] = value
            columns[found] = column
            found += value >= bound
        keep_largest(columns, candidates, found, k, latents[row], values[row])


@compiled(fastmath=REORDER | {"nnan"})
def keep_largest(
    columns: np.ndarray,
    candidates: np.ndarray,
    found: int,
    k: int,
    latents: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write the k largest of the first candidates, all positive, by increasing column."""
    if found > 2 * k:
        bound = find_bound(candidates[:found], k)
        kept = 0
        for i in range(found):
            value = candidates[i]
            candidates[kept] = value
            columns[kept] = columns[i]
            kept += value >= bound
        found = kept
    _sort(columns[:found], candidates)
    while found > k:
        # Drop the smallest; among equals the last.
        drop = found - 1
        for i in range(found - 2, -1, -1):
            if candidates[i] < candidates[drop]:
                drop = i
        for i in range(drop, found - 1):
            candidates[i] = candidates[i + 1]
            columns[i] = columns[i + 1]
        found -= 1
    latents[:found] = columns[:found]
    values[:found] = candidates[:found]
    latents[found:] = 0
    values[found:] = 0


@compiled
def _sort(keys: np.ndarray, values: np.ndarray) -> None:
    """Sort a few keys, almost in order, and their values along with them (by insertion)."""
    for i in range(1, len(keys)):
        key, value = keys[i], values[i]
        place = i
        while place > 0 and keys[place - 1] > key:
            keys[place] = keys[place - 1]
            values[place] = values[place - 1]
            place -= 1
        keys[place] = key
        values[place] = value


@compiled(fastmath=REORDER)
def _add_rows(total: np.ndarray, weights: np.ndarray, matrix: np.ndarray, rows: np.ndarray) -> None:
    """Add Σ_e weights[e] · matrix[rows[e]] to the total, four rows at a time.

    The rows lie anywhere in memory: four at once are fetched together, and the total is read and
    written a quarter as often.
    """
    whole = len(rows) // 4 * 4
    for e in range(0, whole, 4):
        w0, w1, w2, w3 = weights[e], weights[e + 1], weights[e + 2], weights[e + 3]
        row0, row1 = matrix[rows[e]], matrix[rows[e + 1]]
        row2, row3 = matrix[rows[e + 2]], matrix[rows[e + 3]]
        for i in range(len(total)):
            total[i] += w0 * row0[i] + w1 * row1[i] + w2 * row2[i] + w3 * row3[i]
    for e in range(whole, len(rows)):
        weight, row = weights[e], matrix[rows[e]]
        for i in range(len(total)):
            total[i] += weight * row[i]


@compiled(fastmath=REORDER)
def products(vector: np.ndarray, matrix: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Write vector · matrix[rows[e]] for every e, four at a time.

    Where fewer than four are left, the last row is taken again: the compiler would order the sums
    of another loop in another way, and a product would depend on how many are asked for.
    """
    last = len(rows) - 1
    for e in range(0, len(rows), 4):
        e1, e2, e3 = min(e + 1, last), min(e + 2, last), min(e + 3, last)
        row0, row1 = matrix[rows[e]], matrix[rows[e1]]
        row2, row3 = matrix[rows[e2]], matrix[rows[e3]]
        sum0 = sum1 = sum2 = sum3 = np.float32(0)
        for i in range(len(vector)):
            sum0 += vector[i] * row0[i]
            sum1 += vector[i] * row1[i]
            sum2 += vector[i] * row2[i]
            sum3 += vector[i] * row3[i]
        out[e], out[e1], out[e2], out[e3] = sum0, sum1, sum2, sum3


@compiled(fastmath=REORDER)
def decode(
    x: np.ndarray,
    decoder: np.ndarray,
    bias: np.ndarray,
    latents: np.ndarray,
    values: np.ndarray,
    scale: np.float32,
    residual: np.ndarray,
    gradient: np.ndarray,
) -> float:
    """Write scale · (x̂ − x), and the loss's gradient by each latent's value.

    Parameters
    ----------
    x
        float32 (rows, d).
    decoder, bias
        float32 (width, d) and (d,).
    latents, values
        As `select_largest` wrote them.
    scale
        2 / (batch · d), the derivative of the mean square.
    residual, gradient
        float32 (rows, d) and (rows, k), written; the gradient is 0 at empty places.

    Returns
    -------
    float
        Sum of the squared errors.
    """
    rows, d = x.shape
    total = 0.0
    for row in range(rows):
        error = residual[row]
        for i in range(d):
            error[i] = bias[i] - x[row, i]
        filled = np.count_nonzero(values[row])
        chosen = latents[row, :filled]
        _add_rows(error, values[row, :filled], decoder, chosen)
        squares = np.float32(0)
        for i in range(d):
            squares += error[i] * error[i]
            error[i] *= scale
        total += float(squares)
        products(error, decoder, chosen, gradient[row])
        gradient[row, filled:] = 0
    return total


@compiled
def sort_by_latent(
    latents: np.ndarray, values: np.ndarray, starts: np.ndarray, places: np.ndarray
) -> None:
    """List the places where each latent fires, in the order of the rows (a counting sort).

    `places[starts[j] : starts[j + 1]]` are the flat positions in (rows, k) at which latent j has a
    positive value; int64 (width + 1,) and (rows · k,), written.
    """
    rows, k = latents.shape
    width = len(starts) - 1
    starts[:] = 0
    for row in range(rows):
        for place in range(k):
            if values[row, place] > 0:
                starts[latents[row, place] + 1] += 1
    for latent in range(width):
        starts[latent + 1] += starts[latent]
    for row in range(rows):
        for place in range(k):
            if values[row, place] > 0:
                latent = latents[row, place]
                places[starts[latent]] = row * k + place
                starts[latent] += 1
    for latent in range(width, 0, -1):
        starts[latent] = starts[latent - 1]
    starts[0] = 0


@compiled(fastmath=REORDER)
def update_latents(
    first: int,
    last: int,
    batch: tuple[np.ndarray, ...],
    sparse: tuple[np.ndarray, ...],
    extra: tuple[np.ndarray, ...],
    encoder: np.ndarray,
    decoder: np.ndarray,
    bias: np.ndarray,
    moments: tuple[np.ndarray, ...],
    adam: tuple[np.float32, ...],
) -> tuple[float, np.ndarray]:
    """Sum each latent's gradients over the rows it fires on and take Adam's step at once.

    The gradient of a latent needs no more memory than two rows, which stay in the cache. Decoder
    gradients lose their part along the row, and the row returns to unit norm.

    Parameters
    ----------
    first, last
        Range of latents.
    batch
        x (what the encoder saw) and residual (as `decode` wrote it), float32 (batch, d).
    sparse
        values and gradient (batch, k), starts and places as `sort_by_latent` wrote them.
    extra
        Further gradients of some latents: position (int32 (width,), -1 for none), encoder and
        decoder rows (n, d), biases (n,).
    encoder, decoder, bias
        float32 (width, d), (width, d), (width,): updated.
    moments
        Mean and square of Adam for encoder, decoder and bias: updated.
    adam
        float32: step size, first and second beta, 1 / (1 - second beta^t), epsilon.

    Returns
    -------
    float, float32 (d,)
        Squared norm of the gradients, and Σ_j (bias gradient of j) · encoder row j.
    """
    x, residual = batch
    values, gradient, starts, places = sparse
    position, extra_encoder, extra_decoder, extra_bias = extra
    encoder_mean, encoder_square, decoder_mean, decoder_square, bias_mean, bias_square = moments
    step, beta1, beta2, correction, epsilon = adam
    rest1 = np.float32(1) - beta1
    rest2 = np.float32(1) - beta2
    k = values.shape[1]
    d = x.shape[1]
    most = np.diff(starts[first : last + 1]).max()
    rows = np.empty(most, np.int64)
    fired, slopes_of = np.empty((2, most), np.float32)
    up = np.empty(d, np.float32)
    down = np.empty(d, np.float32)
    through = np.zeros(d, np.float32)
    norm = 0.0
    for latent in range(first, last):
        up[:] = 0
        down[:] = 0
        slopes = np.float32(0)
        n = starts[latent + 1] - starts[latent]
        for e in range(n):
            place = places[starts[latent] + e]
            rows[e] = place // k
            fired[e] = values[rows[e], place % k]
            slopes_of[e] = gradient[rows[e], place % k]
            slopes += slopes_of[e]
        _add_rows(up, slopes_of[:n], x, rows[:n])
        _add_rows(down, fired[:n], residual, rows[:n])
        if position[latent] >= 0:
            other = position[latent]
            slopes += extra_bias[other]
            for i in range(d):
                up[i] += extra_encoder[other, i]
                down[i] += extra_decoder[other, i]
        along = np.float32(0)
        for i in range(d):
            through[i] += slopes * encoder[latent, i]
            along += down[i] * decoder[latent, i]
        squares = slopes * slopes
        length = np.float32(0)
        for i in range(d):
            slope = down[i] - along * decoder[latent, i]
            squares += slope * slope + up[i] * up[i]
            mean = beta1 * decoder_mean[latent, i] + rest1 * slope
            square = beta2 * decoder_square[latent, i] + rest2 * slope * slope
            decoder_mean[latent, i] = mean
            decoder_square[latent, i] = square
            moved = decoder[latent, i] - step * mean / (math.sqrt(square * correction) + epsilon)
            decoder[latent, i] = moved
            length += moved * moved
        shrink = np.float32(1) / math.sqrt(length)
        for i in range(d):
            decoder[latent, i] *= shrink
            mean = beta1 * encoder_mean[latent, i] + rest1 * up[i]
            square = beta2 * encoder_square[latent, i] + rest2 * up[i] * up[i]
            encoder_mean[latent, i] = mean
            encoder_square[latent, i] = square
            encoder[latent, i] -= step * mean / (math.sqrt(square * correction) + epsilon)
        mean = beta1 * bias_mean[latent] + rest1 * slopes
        square = beta2 * bias_square[latent] + rest2 * slopes * slopes
        bias_mean[latent] = mean
        bias_square[latent] = square
        bias[latent] -= step * mean / (math.sqrt(square * correction) + epsilon)
        norm += float(squares)
    return norm, through


@compiled
def _widened(bits: np.uint16) -> np.float32:
    """Return the number that bfloat16 writes with these bits."""
    return np.uint32(np.uint32(bits) << LOWER_BITS).view(np.float32)


@compiled(fastmath=REORDER)
def round_rows(
    matrix: np.ndarray, rounded: np.ndarray, norms: np.ndarray, errors: np.ndarray
) -> None:
    """Write a float32 matrix rounded to bfloat16 (bits, uint16), and two norms for each row.

    Those of the row and of its rounding error, float32 (rows,). Ties go to even.
    """
    rows, d = matrix.shape
    for row in range(rows):
        squares = missed = np.float32(0)
        for i in range(d):
            value = matrix[row, i]
            bits = np.float32(value).view(np.uint32)
            odd = np.uint32(np.uint32(bits >> LOWER_BITS) & np.uint32(1))
            bits = np.uint32(np.uint32(bits + np.uint32(0x7FFF) + odd) >> LOWER_BITS)
            rounded[row, i] = np.uint16(bits)
            error = value - _widened(np.uint16(bits))
            squares += value * value
            missed += error * error
        norms[row] = math.sqrt(squares)
        errors[row] = math.sqrt(missed)


@compiled(fastmath=REORDER | {"nnan"})
def _lowest_maxima(
    z: np.ndarray, bias: np.ndarray, doubt: np.float32, norms: np.ndarray, largest: np.ndarray
) -> None:
    """Write the maximum of z + bias − doubt · norm in each lane of each tile."""
    for tile in range(len(largest) // LANES):
        for lane in range(LANES):
            start = tile * TILE + lane
            top = _widened(z[start]) + bias[start] - doubt * norms[start]
            for deep in range(1, DEPTH):
                j = start + deep * LANES
                top = max(top, _widened(z[j]) + bias[j] - doubt * norms[j])
            largest[tile * LANES + lane] = top


@compiled(fastmath=REORDER | {"nnan"})
def select_screened(
    rough: np.ndarray,
    doubts: np.ndarray,
    norms: np.ndarray,
    x: np.ndarray,
    encoder: np.ndarray,
    bias: np.ndarray,
    latents: np.ndarray,
    values: np.ndarray,
) -> None:
    """Find the k largest positive entries of each row of x · encoderᵀ + bias, exactly.

    An entry lies within rough + bias ± (doubt · norm + change), where change is what rounding has
    done to `rough` itself. At least k lower ends reach some B − change. What cannot reach that is
    not among the k largest, what cannot reach 0 is not positive, and all else is computed. Groups
    of columns spare most of them a look, as in `select_largest`.

    Parameters
    ----------
    rough
        About x · encoderᵀ: bfloat16 (rows, width), as bits.
    doubts, norms
        float32 (rows,) and (width,): before it was rounded itself, an entry of `rough` was within
        doubt · norm / SLACK.
    x, encoder, bias
        float32 (rows, d), (width, d), (width,).
    latents, values
        As `select_largest` writes them.
    """
    (rows, width), k = rough.shape, latents.shape[1]
    tiles = count_tiles(width, k)
    largest = np.empty(tiles * LANES, np.float32)
    columns = np.empty(width, np.int32)
    candidates = np.empty(width, np.float32)
    longest = norms.max()
    farthest = np.abs(bias).max()
    for row in range(rows):
        z, doubt = rough[row], doubts[row]
        # What is far above the bound stays above it, so that the entries near it alone matter, and
        # of those rounding has changed less than of the largest.
        change = SLACK * ROUNDING * farthest
        bound = -change
        if tiles:
            _lowest_maxima(z, bias, doubt, norms, largest)
            top = max(largest.max() + doubt * longest, np.float32(0))
            change += SLACK * ROUNDING * top
            bound = max(find_bound(largest, k) - 2 * change, -change)
        found = 0
        for group in range(tiles * LANES):
            if largest[group] + 2 * doubt * longest >= bound:
                start = group // LANES * TILE + group % LANES
                for j in range(start, start + TILE, LANES):
                    columns[found] = j
                    found += _widened(z[j]) + bias[j] + doubt * norms[j] >= bound
        for j in range(tiles * TILE, width):
            columns[found] = j
            found += _widened(z[j]) + bias[j] + doubt * norms[j] >= bound
        products(x[row], encoder, columns[:found], candidates[:found])
        kept = 0
        for i in range(found):
            j = columns[i]
            value = candidates[i] + bias[j]
            columns[kept] = j
            candidates[kept] = value
            kept += value >= SMALLEST
        keep_largest(columns, candidates, kept, k, latents[row], values[row])
