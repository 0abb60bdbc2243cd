"""Packages of an environment according to its locks, and the complaints of `pip check`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dynamo_containers.facts.locks import requirements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue

SHARES = re.compile(r"^# shares (\S+):", re.MULTILINE)
"""The line of a lock that names the lock of the common packages (python_lock.shares_line)."""


def locked_environment(folder: Path, layer: str, bases: str, arch: str) -> set[tuple[str, str]]:
    """Return (name, version) of the packages of a layer's lock, and of those from the locks that it is based on."""
    text = (folder / f"constraints/{layer}-{bases}-{arch}.txt").read_text(encoding="utf-8")
    shared = "".join((folder / path).read_text(encoding="utf-8") for path in SHARES.findall(text))
    added = {(package.name, package.version) for lock in (text, shared) for package in requirements.read(lock)}
    return added | {*requirements.provided(text)}


MISTAGGED = {
    "nvidia-cusparselt-cu13": "the metadata of its wheel for aarch64 has sbsa, an invalid platform tag; its name has"
    " aarch64, and every install step checks its ELF headers",
}
"""Packages whose wheel has a platform tag that does not exist, which `pip check` rejects; and the reason."""


def pip_complaints(answer: Mapping[str, Any], catalogue: Catalogue) -> list[str]:
    """Return the complaints of `pip check` except for intentionally excluded packages (`lock.excluded`)."""
    lines: list[str] = answer["output"].splitlines()
    expected = [f" requires {name}, which is not installed." for name in catalogue.excluded]
    complaints = [line for line in lines if not any(line.endswith(ending) for ending in expected)]
    complaints = [line for line in complaints if not _is_mistagged(line)]
    return [line for line in complaints if line != "No broken requirements found."]


def _is_mistagged(line: str) -> bool:
    name, _, rest = line.partition(" ")
    return name in MISTAGGED and rest.endswith(" is not supported on this platform")
