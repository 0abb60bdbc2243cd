"""References of builds in BuildKit's history, from buildx's metadata or its local state.

When a build begins, buildx notes each target of it as `refs/BUILDER/NODE/ID` and all of them together as
`refs/__group__/GROUP` (https://github.com/docker/buildx, localstate). Nothing but that knows the records of a build
that failed: the engine lists records of everybody, without the names of targets.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers.engine import endpoint

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

REF = "buildx.build.ref"
GROUPS = "__group__"
EVERYWHERE = "*/*"
"""Any BUILDER/NODE."""
EARLY = 0.05
"""Seconds by which a file may seem older than it is: clocks of file systems are coarse."""


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where buildx keeps its state, given what docker needs to find its engine."""
    variables = {**os.environ, **environment}
    return Path(variables.get("BUILDX_CONFIG") or endpoint.config_folder(variables) / "buildx") / "refs"


def of_metadata(made: Mapping[str, Any]) -> dict[str, str]:
    """Return record -> step, as the metadata of a bake that ended well says."""
    return {row[REF]: step for step, row in made.items() if isinstance(row, dict) and REF in row}


def with_nodes(state: Path, records: Mapping[str, str]) -> dict[str, str]:
    """Return the records with those that other nodes of the builder have: the metadata names one for each target."""
    known = next((_read(state / each) for each in records), {})
    group = known.get("GroupRef", "")
    return {**_of_group(state, group), **records} if group else dict(records)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A build that began, and wrote no metadata."""

    since: float
    """The moment before, in seconds since 1970."""
    contexts: Mapping[str, str]
    """Step -> the folder that its target is built from."""
    wanted: str
    """A target that it ends in."""
    place: str = EVERYWHERE
    """BUILDER/NODE that it began on."""


def begun(state: Path, build: Begun, taken: Container[str] = ()) -> dict[str, str]:
    """Return the records of the build of these targets that began first after a moment; none where there is none.

    Args:
        state: as `state_folder` gives it.
        build: which one is looked for.
        taken: records that are known to be those of another one.
    """
    with suppress(FileNotFoundError):
        groups = [(each.stat().st_mtime, each.name) for each in os.scandir(state / GROUPS)]
        for moment, group in sorted(groups):
            found = _of_group(state, group, build.place) if moment >= build.since - EARLY else {}
            if build.wanted in found.values() and all(
                ref not in taken and _is_of(state / ref, step, build.contexts) for ref, step in found.items()
            ):
                return found
    return {}


def _of_group(state: Path, group: str, place: str = EVERYWHERE) -> dict[str, str]:
    wanted = set(_read(state / GROUPS / group).get("Refs", ()))
    return {f"{where}/{ref}": target for where, ref, target in _noted(state, wanted, place)}


def _noted(state: Path, wanted: set[str], place: str) -> Iterator[tuple[str, str, str]]:
    for node in sorted(each for each in state.glob(f"{place}/") if each.parent.name != GROUPS):
        for ref in sorted(wanted):
            target = _read(node / ref).get("Target", "")
            if target:
                yield str(node.relative_to(state)), ref, target


def _is_of(file: Path, step: str, contexts: Mapping[str, str]) -> bool:
    return contexts.get(step) == _read(file).get("LocalPath")


def _read(file: Path) -> dict[str, Any]:
    """Return what a file of buildx's state says; nothing where it is gone, or of another version of buildx."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
