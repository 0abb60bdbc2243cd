"""Reports on Python locks: packages that images do not share, yanked releases, unknown download sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.download_sizes import SIZES_FILE, lock_name
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.locks.moves import LockedVersion, Move, compact, compare, table
from dynamo_containers.facts.locks.requirements import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamo_containers.facts.locks.requirements import LockedPackage


@dataclass(frozen=True, kw_only=True)
class IndexFindings:
    """Answers of the index about the packages of one lock; keyed by `name==version`."""

    sizes: Mapping[str, int | None]
    """Bytes that a target downloads, for every package that is or was locked; None where the index does not say."""
    yanked: Mapping[str, str]
    """Locked releases that were yanked, with the reason."""
    requirements: Mapping[str, list[str]]
    """Package -> what other packages require of it: `vllm==0.26.0 requires torch==2.11.0`."""
    warnings: Sequence[str] = ()
    """What pip only warns of: extras that do not exist, releases with invalid metadata."""


@dataclass(frozen=True, kw_only=True)
class UnsharedPackage:
    """A package that images should share but have in different versions."""

    name: str
    versions: tuple[tuple[str, str, str], ...]
    """(lock, version, what requires it there)."""


def python_moves(
    path: str, before: Iterable[LockedPackage], after: Iterable[LockedPackage], sizes: Mapping[str, int | None]
) -> tuple[Move, ...]:
    """Return the moves between two states of a Python lock; `sizes` has the bytes of `name==version` where known."""
    old, new = (
        {
            package.name: LockedVersion(
                version=package.version, size=sizes.get(package.pin), hashes=frozenset(package.hashes)
            )
            for package in packages
        }
        for packages in (before, after)
    )
    return compare(LockKind.PYTHON, lock_name(path), old, new)


def unshared_table(packages: Iterable[UnsharedPackage]) -> str:
    """Return the table of packages that should be shared but are not; empty when there are none."""
    rows: list[tuple[str, ...]] = [(package.name, *row) for package in packages for row in package.versions]
    if not rows:
        return ""
    head = "These locks should have the same version (lock.common-layers in containers/images.toml) but do not:\n\n"
    return head + table(rows, ("package", "lock", "version", "because"))


def unknown_sizes_table(pins: Iterable[tuple[str, str]]) -> str:
    """Return the table of (pin, lock) whose size the index does not state; empty when there are none."""
    locks: dict[str, list[str]] = {}
    for pin, lock in pins:
        locks.setdefault(pin, []).append(lock)
    if not locks:
        return ""
    rows = [(pin, ", ".join(compact(names))) for pin, names in sorted(locks.items())]
    head = f"The index does not state the sizes of these packages, so {SIZES_FILE} does not have them:\n\n"
    return head + table(rows, ("package", "locks"))


def warnings_of(path: str, findings: IndexFindings) -> tuple[str, ...]:
    """Return a sentence for each locked release that was yanked, and for each warning of pip about a lock."""
    yanked = (
        f"{path}: {pin} was yanked: {reason}. Move it with: {COMMAND} --upgrade {pin.partition('==')[0]}"
        for pin, reason in findings.yanked.items()
    )
    return (*yanked, *(f"{path}: {warning}" for warning in findings.warnings))


def warnings_list(warnings: Iterable[str]) -> str:
    """Return the warnings of an update as a list; empty when there are none."""
    lines = [f"- {warning}" for warning in warnings]
    return "\n".join(("Warnings:\n", *lines)) if lines else ""
