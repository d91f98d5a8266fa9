"""What is done with latents, and what is measured: names that need no library."""

CHOSEN = "chosen"
"""The latents of the node are taken away."""
MATCHED = "matched"
"""Latents that fire as often and as strongly are taken away instead, where they fire."""
DIRECTIONS = "directions"
"""On the images of the node's latents, as much as of each is taken away of the matched one."""
SHRUNK = "shrunk"
"""On the images of the node's latents, the token is shortened by the length of what they add."""
PROJECTED = "projected"
"""All that the token has along the latents' decoder rows is taken away, whatever they add of it."""
PERMUTED, PROJECTED_PERMUTED = "permuted", "projected permuted"
"""The same after leaves changed places, with latents chosen for the nodes' new classes."""
ADDED, ADDED_DIRECTIONS = "added", "added directions"
"""Of the node's latents, or of the matched, the mean over the node's images is added elsewhere."""
TAKING = (CHOSEN, MATCHED, DIRECTIONS, SHRUNK, PERMUTED, PROJECTED, PROJECTED_PERMUTED)
REARRANGED = (PERMUTED, PROJECTED_PERMUTED)
ADDING = (ADDED, ADDED_DIRECTIONS)

MEASURES = (
    "delta_in",
    "delta_siblings",
    "delta_elsewhere",
    "selectivity",
    "within",
    "evenness",
    "steered",
    "p_in",
    "fires_in",
    "fires_outside",
    "removed",
)
