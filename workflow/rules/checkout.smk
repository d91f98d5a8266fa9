"""The checkout: the library, WordNet's files and the atlas's pages, which rules read from a folder."""

import tempfile
from contextlib import suppress
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import HostingProviderFile, LocalGitFile, LocalSourceFile

FETCHED = Path(".snakemake/cladescope")
"""Of a workflow that Snakemake reads from a git host: a clone beside Snakemake's records."""


def checkout_of(source):
    """The folder of the checkout that one of the workflow's files belongs to.

    From a git host Snakemake hands out single files, as text. So its own clone, which has no work
    tree, is cloned here at the same commit, once, and brought to another when the module names one.
    """
    if isinstance(source, LocalSourceFile):
        # Of this file, not of the main Snakefile, which is another where this is a module.
        return Path(source.get_path_or_uri(secret_free=True)).parents[1]
    if not isinstance(source, HostingProviderFile | LocalGitFile):
        raise WorkflowError(
            f"{source}: rules need more of this workflow than its rules; name a git host and a tag "
            "(`github(...)`, `gitlab(...)`), or the Snakefile of a clone, as docs/elsewhere.md does"
        )
    # A job's own process takes what the main one has fetched.
    if workflow.is_main_process:
        fetch(source)
    return FETCHED.absolute()


def fetch(source):
    """Bring the clone to the commit that a file of a git repository is read from."""
    # Slow to import, and of no use to anybody who has a checkout.
    from git import Repo

    hosted = isinstance(source, HostingProviderFile)
    if hosted:
        source.fetch_if_required()
    repository = source.hosted_repo.repo if hosted else Repo(source.repo_path)
    commit = repository.commit(source.ref).hexsha
    if not FETCHED.exists():
        FETCHED.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FETCHED.parent) as aside:
            clone = Repo.clone_from(repository.git_dir, f"{aside}/clone", no_checkout=True)
            clone.git.checkout("--detach", commit)
            # Another process may have been faster.
            with suppress(OSError):
                Path(clone.working_dir).rename(FETCHED)
    clone = Repo(FETCHED)
    if clone.head.commit.hexsha != commit:
        clone.git.fetch(
            repository.git_dir, "refs/heads/*:refs/remotes/origin/*", "--tags", "--force"
        )
        clone.git.checkout("--detach", commit)


ROOT = checkout_of(workflow.current_basedir)
