"""Reports of everything that is wrong with a dataset, not only of the first fault."""

import logging

MAX_LISTED = 50


def raise_faults(where: str, faults: list[str]) -> None:
    """Raise a ValueError that lists the faults, if there are any.

    The log gets the whole list, the message only its beginning.
    """
    if not faults:
        return
    for fault in faults:
        logging.error("%s", fault)
    listed = faults[:MAX_LISTED]
    if len(faults) > MAX_LISTED:
        listed.append(f"... and {len(faults) - MAX_LISTED} more, all of them in the log")
    raise ValueError(f"{where} has {len(faults)} fault(s):\n  " + "\n  ".join(listed))


def is_utf8(name: str) -> bool:
    """Return whether the system could decode a file's name."""
    # What it could not decode is in surrogates.
    return not any("\ud800" <= letter <= "\udfff" for letter in name)
