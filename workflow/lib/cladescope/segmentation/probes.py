"""Logistic probes of one latent each: which latent says best where a node is, and how well.

The probe of a latent with the activation x on a patch is P(positive) = σ(b + w x / s), s the root
mean square of x where the latent fires. It minimises the sum over patches of the cross-entropy plus
½ RIDGE w². With n patches, of which π are positive, this sum is

    Σ over firings of softplus(b + w x / s) + (n − firings) softplus(b) − b π − w Σ⁺ x / s

where Σ⁺ is over the positive patches alone: of the labels no more is needed than π and Σ⁺ x, which
one product of sparse matrices gives for all latents and nodes, and only firings are gone through.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array, csr_array
from scipy.special import xlogy

from cladescope.compiled import compiled

RIDGE = 1e-3
"""Keeps w finite where a latent fires on positive patches alone; little beside such sums."""
EVALUATIONS = 100
"""At most so many of a probe's loss; five to ten are usual."""
SMALLEST = 1e-6
"""Share of Newton's step from which on a shorter one is not tried."""
CLOSE = 1e-8
"""What Newton's step may still gain when it ends, in nats over all patches."""
FIRST = 16
"""Patches that are looked at for purity (arXiv 2511.17735)."""


class Probes(NamedTuple):
    """The best probe of each node: p = σ(bias + slope · x)."""

    latent: Int[np.ndarray, " nodes"]
    """−1 where no patch is positive, or every one."""
    slope: Float[np.ndarray, " nodes"]
    bias: Float[np.ndarray, " nodes"]
    loss: Float[np.ndarray, " nodes"]
    """The minimum, in nats over all patches."""

    @classmethod
    def without_latents(cls, positive: csr_array) -> "Probes":
        """Return the probes that know how many patches are positive, and nothing of them."""
        n, nodes = positive.shape
        found = positive.sum(0)
        known = (found > 0) & (found < n)
        share = np.where(known, found / n, 0.5)
        return cls(
            np.full(nodes, -1),
            np.zeros(nodes),
            np.log(share / (1 - share)),
            np.where(known, n * _entropy(share), -np.inf),
        )

    def improve(
        self, latents: Int[np.ndarray, " part"], columns: csc_array, positive: csr_array
    ) -> None:
        """Put better latents in place, those that come first among equals.

        Parameters
        ----------
        columns
            (patches, part): activations of these latents.
        positive
            (patches, nodes): 1 where a patch counts for a node.
        """
        columns = columns.astype(np.float64)
        sums = csr_array(columns.T) @ positive
        sums.sort_indices()
        totals = positive.sum(0)
        for number, latent in enumerate(latents):
            x = columns.data[columns.indptr[number] : columns.indptr[number + 1]]
            if not len(x):
                continue
            inside = np.zeros(len(totals))
            part = slice(sums.indptr[number], sums.indptr[number + 1])
            inside[sums.indices[part]] = sums.data[part]
            scale = np.sqrt(np.square(x).mean())
            arguments = (x / scale, positive.shape[0], totals, inside / scale)
            _improve(*arguments, int(latent), scale, *self)


@compiled
def _improve(x, n, totals, inside, latent, scale, best, slope, bias, least):  # type: ignore[no-untyped-def]
    """Fit one latent's probe of every node, and keep it where its loss is the least so far.

    A latent that fires on none of a node's patches ends below what the number of patches on which
    it does not fire allows; most are never fitted.
    """
    silent = n - len(x)
    for node in range(len(totals)):
        total = totals[node]
        if inside[node] == 0.0 and total > 0:
            share = min(total / max(silent, 1), 1.0)
            bound = 0.0
            if share < 1:
                bound = -silent * (share * np.log(share) + (1 - share) * np.log(1 - share))
            if bound >= least[node]:
                continue
        elif total == 0 or total == n:
            continue
        b, w = np.log(total / (n - total)), 0.0
        step_b, step_w, size = 0.0, 0.0, 1.0
        loss = np.inf
        for _ in range(EVALUATIONS):
            at_b, at_w = b + size * step_b, w + size * step_w
            zero = 1 / (1 + np.exp(-at_b))
            found = silent * _softplus(at_b) - at_b * total - at_w * inside[node]
            found += RIDGE / 2 * at_w * at_w
            g0, g1 = silent * zero - total, RIDGE * at_w - inside[node]
            h00, h01, h11 = silent * zero * (1 - zero), 0.0, RIDGE
            for value in x:
                t = at_b + at_w * value
                e = np.exp(-abs(t))
                found += max(t, 0.0) + np.log1p(e)
                p = 1 / (1 + e) if t >= 0 else e / (1 + e)
                g0 += p
                g1 += p * value
                h = p * (1 - p)
                h00 += h
                h01 += h * value
                h11 += h * value * value
            if not found <= loss:
                size /= 2
                if size < SMALLEST:
                    break
                continue
            b, w, loss, size = at_b, at_w, found, 1.0
            h00 += 1e-12
            across = h00 * h11 - h01 * h01
            step_b = (h01 * g1 - h11 * g0) / across
            step_w = (h01 * g0 - h00 * g1) / across
            if -(step_b * g0 + step_w * g1) / 2 < CLOSE:
                break
        if loss < least[node]:
            best[node], slope[node], bias[node], least[node] = latent, w / scale, b, loss


@compiled
def _softplus(t):  # type: ignore[no-untyped-def]
    return max(t, 0.0) + np.log1p(np.exp(-abs(t)))


class Found(NamedTuple):
    """How well a probe finds positive patches."""

    precision: float
    """Average precision: Σ over distinct scores, from the highest, of the share of positive patches
    that have it times the precision of all patches with it or more. Tied patches are found
    together, so that a latent which never fires has the share of positive patches."""
    explained: float
    """1 − cross-entropy over that of the share of positive patches where the probe was fitted:
    McFadden's pseudo-R², Probe-R in arXiv 2511.17735. Below 0 if the probe is worse."""
    purity: float
    """Share of positive patches among the first 16; of tied ones the mean over all orders."""


def find(
    x: Float[np.ndarray, " firings"],
    hits: Bool[np.ndarray, " firings"],
    n: int,
    total: int,
    probe: tuple[float, float],
    share: float,
) -> Found:
    """Measure a probe on patches that it was not fitted on.

    Parameters
    ----------
    x
        Activations where the latent fires.
    hits
        Which of these patches are positive.
    n, total
        All patches, and the positive ones among them.
    probe
        Slope and bias.
    share
        Of positive patches, where it was fitted.
    """
    slope, bias = probe
    # All patches on which it does not fire are one entry.
    logit = bias + slope * np.append(x, 0.0)
    sizes = np.append(np.ones(len(x)), n - len(x))
    rights = np.append(hits, total - hits.sum()).astype(np.float64)
    each, tie = np.unique(-logit, return_inverse=True)
    size, right = (np.bincount(tie, part, len(each)) for part in (sizes, rights))
    seen, hit = np.cumsum(size), np.cumsum(right)
    precision = float((right * hit / np.maximum(seen, 1)).sum() / total)
    looked_at = min(FIRST, n)
    room = np.clip(looked_at - (seen - size), 0, size)
    purity = float((right * room / np.maximum(size, 1)).sum() / looked_at)
    # −log σ(t) for positive patches, −log σ(−t) for others.
    loss = right @ np.logaddexp(0, each) + (size - right) @ np.logaddexp(0, -each)
    nothing = -total * np.log(share) - (n - total) * np.log1p(-share)
    return Found(precision, float(1 - loss / nothing), purity)


def _entropy(share: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return -xlogy(share, share) - xlogy(1 - share, 1 - share)
