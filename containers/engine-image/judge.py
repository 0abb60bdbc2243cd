"""Decide which packages to add to an engine's published image, and which to refuse; add-missing does the work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.requirements import Requirement


@dataclass(frozen=True)
class Pin:
    """A package of a lock: its lines, and whether a file in requirements/ names it."""

    name: str
    version: str
    text: str
    named: bool


@dataclass(frozen=True)
class InstalledPackage:
    """An installed distribution: the first one of its name on Python's path."""

    version: str
    place: str
    """The folder on Python's path that it is in."""
    requires: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """The packages to add, and the reasons to refuse the image."""

    add: tuple[Pin, ...]
    refused: tuple[str, ...]
    """A sentence for each package that the image has in another version than required."""


def normal(name: str) -> str:
    """Return a distribution's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, Pin]:
    """Return the pins of a lock as pip-compile writes it."""
    parsed = {}
    for entry in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        name, _, rest = entry.partition("==")
        version = re.split(r"[\s;\\]", rest, maxsplit=1)[0]
        parsed[name] = Pin(name=name, version=version, text=entry, named="-r requirements/" in entry)
    return parsed


def decide(lock: Mapping[str, Pin], own: Mapping[str, Pin], image: Mapping[str, InstalledPackage]) -> Decision:
    """Return which packages to add: of Dynamo and NIXL (`own`), and of the named pins of a lock."""
    required = {**{name: pin for name, pin in lock.items() if pin.named}, **own}
    # Its libraries for another CUDA major are NIXL too, and one process may load either.
    versions = {name: own["nixl"].version for name in image if name.startswith("nixl-") and "nixl" in own}
    versions |= {name: pin.version for name, pin in own.items()}
    return Decision(
        add=tuple(pin for name, pin in required.items() if name not in image),
        refused=tuple(
            f"The image has {name} {image[name].version} in {image[name].place}, and the base stage has {version}."
            for name, version in sorted(versions.items())
            if name in image and image[name].version != version
        ),
    )


def unmet(
    installed: Mapping[str, InstalledPackage], added: Iterable[str], excluded: Iterable[str]
) -> list[tuple[str, str, str, str]]:
    """Return (package, specifier, installed version, dependent) for each unmet requirement of the added packages.

    Extras of installed packages are followed: `uvicorn[standard]` needs the packages that this extra names.
    """
    from packaging.requirements import Requirement  # the tools' own, which add-missing puts first on Python's path

    rows: dict[tuple[str, str, str], str] = {}
    queue = [(name, "") for name in added]
    visited = set(queue)
    while queue:
        dependent, extra = queue.pop()
        for requirement in map(Requirement, installed[dependent].requires):
            name = normal(requirement.name)
            if name in excluded or not applies(requirement, extra):
                continue
            version = installed[name].version if name in installed else "nothing"
            if name not in installed or not requirement.specifier.contains(version, prereleases=True):
                rows[name, str(requirement.specifier), dependent] = version
                continue
            new = {(name, extra_name) for extra_name in requirement.extras} - visited
            visited |= new
            queue += new
    return sorted(
        (name, specifier or "any", version, dependent) for (name, specifier, dependent), version in rows.items()
    )


def applies(requirement: Requirement, extra: str) -> bool:
    """Return whether a requirement applies to a package, or for an extra, whether that extra adds it."""
    marker = requirement.marker
    if marker is None:
        return not extra
    plain = marker.evaluate({"extra": ""})
    return bool(marker.evaluate({"extra": extra}) and not plain) if extra else bool(plain)


def moved(before: Mapping[str, InstalledPackage], after: Mapping[str, InstalledPackage]) -> list[str]:
    """Return a sentence for each distribution of the image that changed or disappeared."""
    return [
        f"{name} {package.version} of {package.place} is now {after[name].version} of {after[name].place}"
        if name in after
        else f"{name} {package.version} of {package.place} is gone"
        for name, package in sorted(before.items())
        if name not in after or (after[name].version, after[name].place) != (package.version, package.place)
    ]


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return the rows as a table with a header."""
    lines = [("package", "wanted", "the image has", "by"), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
