"""Pages of the documentation of which a part is written by a program."""

END = "<!-- end -->"
"""Ends the part; what begins it says who writes it."""


def fill_in(page: str, begin: str, part: str) -> str:
    """Return a page with `part` between the mark `begin` and the next end.

    Raises
    ------
    ValueError
        If the page has no such marks; names the first.
    """
    before, found, rest = page.partition(begin)
    _, ends, after = rest.partition(END)
    if not (found and ends):
        raise ValueError(f"the page has no {begin} with {END} after it; put them where it belongs")
    return f"{before}{begin}\n\n{part}\n\n{END}{after}"
