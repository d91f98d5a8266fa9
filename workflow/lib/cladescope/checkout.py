"""The checkout: workflow, profiles and documentation, which an installed package does not have."""

from pathlib import Path


def find_checkout() -> Path:
    """Return the checkout that holds this library, else the current folder if it is one.

    Raises
    ------
    FileNotFoundError
        If neither is a checkout; says what to do.
    """
    # In a checkout the library lies in `workflow/lib/cladescope`.
    for folder in (Path(__file__).parents[3], Path.cwd()):
        if (folder / "Snakefile").is_file() and (folder / "workflow/lib/cladescope").is_dir():
            return folder
    raise FileNotFoundError(
        f"{Path.cwd()} is not a checkout of Cladescope, and the installed package holds neither "
        "workflow nor profiles nor documentation; change to the folder of a checkout first"
    )
