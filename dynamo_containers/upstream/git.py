"""Commits of git repositories: the commit of a tag or branch, and whether a repository has a commit."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from dynamo_containers import process
from dynamo_containers.errors import UnreachableError
from dynamo_containers.upstream.unreachable import one_line
from dynamo_containers.value_types import COMMIT

ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
"""git prompts for no password, and its messages are in English, as `NO_REPOSITORY` and `NO_COMMIT` are."""
NO_REPOSITORY = ("not found", "does not appear to be a git")
"""Phrases of git for a repository that does not exist; more text follows on the next lines."""
NO_COMMIT = ("not our ref", "couldn't find remote ref")
"""Phrases of git for a commit that a repository does not have."""


class NoRepositoryError(Exception):
    """No repository exists at an address."""


def list_remote(address: str, ref: str, seconds: float) -> str:
    """Return the output of `git ls-remote` for a tag or branch.

    Raises:
        NoRepositoryError: no repository exists at the address.
        UnreachableError: the repository does not answer, or denies access.
    """
    argv = ("git", "ls-remote", "--", address, ref, f"{ref}^{{}}")
    try:
        finished = process.query(process.Command(argv=argv, env=ENVIRONMENT), seconds=seconds)
    except process.TooSlowError:
        message = f"no answer within {seconds:.0f} s"
        raise UnreachableError(message) from None
    if finished.returncode and any(phrase in finished.stderr for phrase in NO_REPOSITORY):
        raise NoRepositoryError(address)
    if finished.returncode:
        raise UnreachableError(reason(finished.stderr))
    return finished.stdout


def has_commit(address: str, commit: str, seconds: float) -> bool:
    """Say whether a repository has a commit: fetch it, without history and files.

    Raises:
        UnreachableError: the repository does not answer, or denies access.
        process.TooSlowError: it does not answer within `seconds`.
    """
    with TemporaryDirectory() as folder:
        git = ("git", "-C", folder)
        process.capture(process.Command(argv=(*git, "init", "--quiet", "--bare")))
        fetch = (*git, "fetch", "--quiet", "--depth=1", "--filter=tree:0", "--", address, commit)
        finished = process.query(process.Command(argv=fetch, env=ENVIRONMENT), seconds=seconds)
    if finished.returncode and not any(phrase in finished.stderr for phrase in NO_COMMIT):
        raise UnreachableError(reason(finished.stderr))
    return not finished.returncode


def reason(output: str) -> str:
    """Return the reason from the error output of git."""
    # git ends with general advice; the reason is its first `fatal:`.
    reasons = [line for line in output.splitlines() if line.startswith("fatal: ")]
    return one_line(reasons[0] if reasons else output)


def commit_of(listed: str, ref: str) -> str:
    """Return the commit of a tag or branch, given the output of `git ls-remote`; '' if neither exists.

    A tag has precedence over a branch, as in git. An annotated tag is an object of its own; `^{}` is its commit.
    """
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    names = (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref)
    return next((commits[name] for name in names if COMMIT.accepts(commits.get(name))), "")
