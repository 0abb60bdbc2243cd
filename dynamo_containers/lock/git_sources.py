"""Which commit is a tag or branch of a repository? Asked with `git ls-remote`; a pin of the same name stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import PinnedSource
from dynamo_containers.upstream.outcome import Outcome
from dynamo_containers.upstream.unreachable import NOT_LOCKED, Unreached, old_pin, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import GitSource

SECONDS = 8
"""How long one repository may take to list a few names."""
UPGRADE = "invoke lock --only archives --upgrade-all"
# Nobody is asked for a password, and complaints are in the language that is looked for below.
ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def refresh(
    sources: Mapping[str, GitSource],
    old: Mapping[str, PinnedSource],
    *,
    upgrade_all: bool,
    seconds: float = SECONDS,
) -> Outcome[str, PinnedSource]:
    """Ask every repository at the same time; return the pins.

    Raises:
        LockError: a repository says that it has no such tag or branch, or it does not exist.
    """
    one = partial(_refresh, old=old, upgrade_all=upgrade_all, seconds=seconds)
    with ThreadPoolExecutor(max(1, len(sources))) as pool:
        made = tuple(pool.map(one, sources.keys(), sources.values()))
    return Outcome(
        pins={name: pin for each in made for name, pin in each.pins.items()},
        said=tuple(line for each in made for line in each.said),
        unreachable=tuple(row for each in made for row in each.unreachable),
    )


def _refresh(
    name: str, source: GitSource, *, old: Mapping[str, PinnedSource], upgrade_all: bool, seconds: float
) -> Outcome[str, PinnedSource]:
    before = old.get(name)
    try:
        commit = _commit(name, source, seconds)
    except UnreachableError as error:
        stays = old_pin((before.commit,), before.ref) if before else NOT_LOCKED
        missing = Unreached(what=f"sources.{name}", asked=source.git, why=str(error), kept=stays)
        return Outcome(pins={name: before} if before else {}, unreachable=(missing,))
    if before and before.ref == source.ref and before.commit != commit and not upgrade_all:
        said = f"{source.git}: {source.ref} is now {commit}; take it with: {UPGRADE}"
        return Outcome(pins={name: before}, said=(said,))
    pin = PinnedSource(ref=source.ref, commit=commit)
    said = f"sources.{name}: {source.ref} of {source.git} is pinned to {commit}"
    return Outcome(pins={name: pin}, said=() if pin == before else (said,))


def _commit(name: str, source: GitSource, seconds: float) -> str:
    argv = ("git", "ls-remote", "--", mirrors.here().address(source.git), source.ref, f"{source.ref}^{{}}")
    try:
        finished = process.ask(process.Command(argv=argv, env=ENVIRONMENT), seconds=seconds)
    except process.TooSlowError:
        message = f"no answer within {seconds:.0f} s"
        raise UnreachableError(message) from None
    # Of a missing repository git says more on the lines below.
    if finished.returncode and ("not found" in finished.stderr or "does not appear to be a git" in finished.stderr):
        message = f"sources.{name}: there is no repository {source.git}.\nCorrect it in {IMAGES_FILE}."
        raise LockError(message)
    if finished.returncode:
        raise UnreachableError(why(finished.stderr))
    commit = chosen(finished.stdout, source.ref)
    if not commit:
        message = f"sources.{name}: {source.git} has no tag or branch {source.ref}.\nName another in {IMAGES_FILE}."
        raise LockError(message)
    return commit


def why(output: str) -> str:
    """Return the reason in what git said when it failed."""
    # git ends with general advice; the reason is its first `fatal:`.
    reasons = [line for line in output.splitlines() if line.startswith("fatal: ")]
    return one_line(reasons[0] if reasons else output)


def chosen(listed: str, ref: str) -> str:
    """Return the commit that a name means among the lines of `git ls-remote`; '' when none is of that name.

    A tag before a branch, as git itself has it; an annotated tag is an object of its own, and `^{}` what it points at.
    """
    found = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    names = (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref)
    return next((found[name] for name in names if name in found), "")
