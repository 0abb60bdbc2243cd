"""Versions that all platforms of an image have in common: those of the wheels of the base stage.

Each platform has locks of its own, and pip may resolve them to different versions. An image of several platforms has
one tag and one value of each label, so Dynamo and NIXL must have one version there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts.locks.requirements import COMMAND, read_if_valid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.locks.python_lock import LockFile


def differences(locks: Iterable[LockFile], texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return a message for each set of bases whose platforms have another version of a wheel of the base stage.

    Args:
        locks: the locks to compare; those of other layers do not count.
        texts: path -> text of the locks that exist.
    """
    versions: dict[LockFile, dict[str, str]] = {
        lock: {package.name: package.version for package in read_if_valid(texts[lock.path])}
        for lock in locks
        if lock.layer.named_only and lock.path in texts
    }
    layers = dict.fromkeys((lock.target.bases, lock.layer.name) for lock in versions)
    rows = (
        {lock: pins for lock, pins in versions.items() if (lock.target.bases, lock.layer.name) == layer}
        for layer in layers
    )
    return tuple(message for row in rows for message in _messages(row))


def _messages(versions: Mapping[LockFile, Mapping[str, str]]) -> Iterable[str]:
    names = dict.fromkeys(name for pins in versions.values() for name in pins)
    by_name = {name: {lock: pins[name] for lock, pins in versions.items() if name in pins} for name in names}
    different = {name: pins for name, pins in by_name.items() if len(set(pins.values())) > 1}
    if not different:
        return
    first = next(iter(versions))
    places = "; ".join(
        f"{name} is " + " and ".join(f"{version} in {lock.path}" for lock, version in pins.items())
        for name, pins in different.items()
    )
    example = " ".join(f"{name}=={tuple(pins.values())[-1]}" for name, pins in different.items())
    yield (
        f"The platforms of the {first.target.bases} bases differ: {places}.\n"
        "An image has one version of these for all its platforms, in its tag and labels too. Name one version in "
        f"{first.layer.requirements} (such as {example}), and run: {COMMAND} --only python\n"
        f"Until then build each platform by itself: --platform {first.target.platform.value}"
    )
