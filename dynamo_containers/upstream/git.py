"""Commits of git repositories: what a tag or branch names, and whether a repository hands a commit out."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from dynamo_containers import process
from dynamo_containers.errors import UnreachableError
from dynamo_containers.upstream.unreachable import one_line

ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
"""Nobody is asked for a password, and complaints are in the language that `NO_REPOSITORY` and `NO_COMMIT` are in."""
NO_REPOSITORY = ("not found", "does not appear to be a git")
"""How git says that there is no such repository; it says more on the lines below."""
NO_COMMIT = ("not our ref", "couldn't find remote ref")
"""How git says that a repository answers and has no such commit."""


class NoRepositoryError(Exception):
    """There is no repository at an address."""


def list_remote(address: str, ref: str, seconds: float) -> str:
    """Return what `git ls-remote` prints of a tag or branch.

    Raises:
        NoRepositoryError: there is no repository at the address.
        UnreachableError: the repository does not answer, or refuses to.
    """
    argv = ("git", "ls-remote", "--", address, ref, f"{ref}^{{}}")
    try:
        finished = process.query(process.Command(argv=argv, env=ENVIRONMENT), seconds=seconds)
    except process.TooSlowError:
        message = f"no answer within {seconds:.0f} s"
        raise UnreachableError(message) from None
    if finished.returncode and any(words in finished.stderr for words in NO_REPOSITORY):
        raise NoRepositoryError(address)
    if finished.returncode:
        raise UnreachableError(reason(finished.stderr))
    return finished.stdout


def has_commit(address: str, commit: str, seconds: float) -> bool:
    """Return whether a repository hands a commit out; it is fetched without history and files.

    Raises:
        UnreachableError: the repository does not answer, or refuses to.
        process.TooSlowError: it did not within so many seconds.
    """
    with TemporaryDirectory() as folder:
        git = ("git", "-C", folder)
        process.capture(process.Command(argv=(*git, "init", "--quiet", "--bare")))
        fetch = (*git, "fetch", "--quiet", "--depth=1", "--filter=tree:0", "--", address, commit)
        finished = process.query(process.Command(argv=fetch, env=ENVIRONMENT), seconds=seconds)
    if finished.returncode and not any(words in finished.stderr for words in NO_COMMIT):
        raise UnreachableError(reason(finished.stderr))
    return not finished.returncode


def reason(output: str) -> str:
    """Return the reason in what git said when it failed."""
    # git ends with general advice; the reason is its first `fatal:`.
    reasons = [line for line in output.splitlines() if line.startswith("fatal: ")]
    return one_line(reasons[0] if reasons else output)


def commit_of(listed: str, ref: str) -> str:
    """Return the commit that a name means among the lines of `git ls-remote`; '' when none is of that name.

    A tag before a branch, as git itself has it; an annotated tag is an object of its own, and `^{}` what it points at.
    """
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    names = (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref)
    return next((commits[name] for name in names if name in commits), "")
