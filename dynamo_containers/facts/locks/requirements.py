"""Parser of a Python lock: its pins, and the pins of its environment from the locks below."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from dynamo_containers.errors import LockError

COMMAND = "invoke lock"


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One pin of a lock."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def pin(self) -> str:
        """Return the pin without its hashes."""
        return f"{self.name}=={self.version}"


PIN = re.compile(
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[^\s;=]+)(?: *;[^\\]*?)?(?P<hashes>(?: +--hash=\S+)*)"
)
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
PROVIDED = re.compile(r"^# provided by (?P<path>\S+):(?P<pins>(?: \S+==\S+)+)$", re.MULTILINE)


@cache  # several stages of several images ask for the same locks, here and below
def lines(text: str) -> tuple[str, ...]:
    """Return the lines that mean something, continued ones joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    return tuple(line for line in (raw.strip() for raw in joined.splitlines()) if line and not line.startswith("#"))


@cache
def read(text: str, path: str = "The lock") -> tuple[LockedPackage, ...]:
    """Return the pins of a lock, as pip-compile writes them.

    Raises:
        LockError: a line is no pin with sha256 hashes, or a package stands there twice.
    """
    packages = tuple(_package(line, path) for line in lines(text))
    names = [package.name for package in packages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"{path} pins {', '.join(twice)} more than once.\nIt is not written by hand. Renew it with: {COMMAND}"
        raise LockError(message)
    return packages


def readable(text: str) -> tuple[LockedPackage, ...]:
    """Return the pins of a lock that is replaced anyway: none of one that breaks the rules."""
    try:
        return read(text)
    except LockError:
        return ()


def _package(line: str, path: str) -> LockedPackage:
    found = PIN.fullmatch(line)
    hashes = tuple(HASH.findall(line))
    if not found or not hashes or len(hashes) != line.count("--hash="):
        message = (
            f'{path}: "{line[:100]}" is no `name==version` with sha256 hashes.\n'
            f"It is not written by hand. Renew it with: {COMMAND}"
        )
        raise LockError(message)
    return LockedPackage(name=found["name"], version=found["version"], hashes=hashes)


def provided(text: str) -> tuple[tuple[str, str], ...]:
    """Return (name, version) of what the lock's environment has from the locks below."""
    pins = (pin for line in PROVIDED.finditer(text) for pin in line["pins"].split())
    return tuple((pin.partition("==")[0], pin.partition("==")[2]) for pin in pins)


def name_of(wish: str) -> str:
    """Return the package that `name` or `name==version` is about."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s=<>!~;\[]", wish, maxsplit=1)[0]).lower()
