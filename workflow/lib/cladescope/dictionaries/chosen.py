"""Latents that fire by what others do: chosen one after another, or each below a parent.

All functions work with arrays of numpy or with tensors of torch, whose gradients they pass on;
docs/dictionaries.md describes the files.
"""

from typing import Any


def pursue(rest: Any, encoder: Any, bias: Any, decoder: Any, k: int, latents: Any) -> Any:
    """Return codes by matching pursuit (Mallat & Zhang 1993): k times, with z = 0 at first,

        p = W_enc r + b_enc,    j = argmax p (of equals the first),    v = max(p_j, 0),
        z_j ← z_j + v,    r ← r − v d_j.

    Parameters
    ----------
    rest
        (tokens, d), r at the start: x' − b_dec.
    encoder, bias, decoder
        (width, d), (width,) and (width, d).
    latents
        (width,), 0, 1, and so on.
    """
    codes: Any = 0
    for _ in range(k):
        pre = rest @ encoder.T + bias
        found = pre * (pre > 0) * (latents == pre.argmax(1)[:, None])
        codes = codes + found
        rest = rest - found @ decoder
    return codes


def children_of(parents: Any, pre: Any, children: Any) -> Any:
    """Return the codes of children: below each parent that fires, the largest, if it is positive.

    Parameters
    ----------
    parents
        (tokens, parents), the codes of the parents.
    pre
        (tokens, parents · c), pre-activations of the children: c of the first parent, c of the
        second, and so on.
    children
        (c,), 0, 1, and so on.
    """
    of_each = pre.reshape(*parents.shape, len(children))
    first = children == of_each.argmax(2)[:, :, None]
    return (of_each * (of_each > 0) * first * (parents > 0)[:, :, None]).reshape(pre.shape)
