"""Commits of git sources: a tag or branch of images.toml becomes a pinned commit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import PinnedSource
from dynamo_containers.upstream import git
from dynamo_containers.upstream.unreachable import NOT_LOCKED, Outcome, Unreached, old_pin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import GitSource

SECONDS = 8
"""How long one repository may take to list a few names."""
UPGRADE = "invoke lock --only archives --upgrade-all"


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
    try:
        listed = git.list_remote(mirrors.here().address(source.git), source.ref, seconds)
    except git.NoRepositoryError:
        message = f"sources.{name}: there is no repository {source.git}.\nCorrect it in {IMAGES_FILE}."
        raise LockError(message) from None
    commit = git.commit_of(listed, source.ref)
    if not commit:
        message = f"sources.{name}: {source.git} has no tag or branch {source.ref}.\nName another in {IMAGES_FILE}."
        raise LockError(message)
    return commit
