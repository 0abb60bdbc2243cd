"""What does a lock say an environment holds?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dynamo_containers.facts.locks import requirements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue

SHARES = re.compile(r"^# shares (\S+):", re.MULTILINE)
"""The lock that has what an image has in common with others (python_lock.shares_line)."""


def locked_environment(folder: Path, layer: str, bases: str, arch: str) -> set[tuple[str, str]]:
    """Return (name, version) of what a layer's lock adds, and of what it takes from the locks below it."""
    text = (folder / f"constraints/{layer}-{bases}-{arch}.txt").read_text(encoding="utf-8")
    shared = "".join((folder / path).read_text(encoding="utf-8") for path in SHARES.findall(text))
    added = {(package.name, package.version) for lock in (text, shared) for package in requirements.read(lock)}
    return added | {*requirements.provided(text)}


MISTAGGED = {
    "nvidia-cusparselt-cu13": "within, its wheel for aarch64 says sbsa, which is the platform of no tag; its name says"
    " aarch64, and every install step judges its ELF headers",
}
"""Packages whose wheel names a platform that does not exist, which `pip check` believes; and the reason."""


def pip_complaints(answer: Mapping[str, Any], catalogue: Catalogue) -> list[str]:
    """Return what `pip check` complains of, without the packages that are left out on purpose (`lock.excluded`)."""
    lines: list[str] = answer["output"].splitlines()
    expected = [f" requires {name}, which is not installed." for name in catalogue.excluded]
    complaints = [line for line in lines if not any(line.endswith(ending) for ending in expected)]
    complaints = [line for line in complaints if not _is_mistagged(line)]
    return [line for line in complaints if line != "No broken requirements found."]


def _is_mistagged(line: str) -> bool:
    name, _, rest = line.partition(" ")
    return name in MISTAGGED and rest.endswith(" is not supported on this platform")
