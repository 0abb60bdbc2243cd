"""Commits of git sources: a tag or branch of images.toml becomes a pinned commit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from dynamo_containers.errors import LockError, UnreachableError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.pins import CommitPin
from dynamo_containers.upstream import git
from dynamo_containers.upstream.unreachable import NOT_LOCKED, RefreshResult, UnreachableInput, old_pin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import GitSource

SECONDS = 8
"""Timeout of one repository."""
UPGRADE = "invoke lock --only archives --upgrade-all"


def pin_sources(
    sources: Mapping[str, GitSource],
    old: Mapping[str, CommitPin],
    *,
    upgrade_all: bool,
    seconds: float = SECONDS,
) -> RefreshResult[str, CommitPin]:
    """Query every repository in parallel and return the pins.

    Raises:
        LockError: a repository does not exist, or it does not have the tag or branch.
    """
    pin_source = partial(_pin_source, old=old, upgrade_all=upgrade_all, seconds=seconds)
    with ThreadPoolExecutor(max(1, len(sources))) as pool:
        outcomes = tuple(pool.map(pin_source, sources.keys(), sources.values()))
    return RefreshResult(
        pins={name: pin for outcome in outcomes for name, pin in outcome.pins.items()},
        messages=tuple(line for outcome in outcomes for line in outcome.messages),
        unreachable=tuple(row for outcome in outcomes for row in outcome.unreachable),
    )


def _pin_source(
    name: str, source: GitSource, *, old: Mapping[str, CommitPin], upgrade_all: bool, seconds: float
) -> RefreshResult[str, CommitPin]:
    before = old.get(name)
    try:
        commit = _commit(name, source, seconds)
    except UnreachableError as error:
        old_text = old_pin((before.commit,), before.ref) if before else NOT_LOCKED
        row = UnreachableInput(name=f"sources.{name}", address=source.git, reason=str(error), pinned=old_text)
        return RefreshResult(pins={name: before} if before else {}, unreachable=(row,))
    if before and before.ref == source.ref and before.commit != commit and not upgrade_all:
        note = f"{source.git}: {source.ref} is now {commit}; upgrade with: {UPGRADE}"
        return RefreshResult(pins={name: before}, messages=(note,))
    pin = CommitPin(ref=source.ref, commit=commit)
    note = f"sources.{name}: {source.ref} of {source.git} is pinned to {commit}"
    return RefreshResult(pins={name: pin}, messages=() if pin == before else (note,))


def _commit(name: str, source: GitSource, seconds: float) -> str:
    try:
        references = git.list_remote(mirrors.configured().address(source.git), source.ref, seconds)
    except git.NoRepositoryError:
        message = f"sources.{name}: the repository {source.git} does not exist.\nCorrect it in {IMAGES_FILE}."
        raise LockError(message) from None
    commit = git.commit_of(references, source.ref)
    if not commit:
        message = (
            f"sources.{name}: {source.git} does not have a tag or branch {source.ref}.\n"
            f"Choose another in {IMAGES_FILE}."
        )
        raise LockError(message)
    return commit
