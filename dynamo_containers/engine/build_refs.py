"""References of builds in BuildKit's history, from the metadata of buildx or its local state.

When a build starts, buildx writes a file per target, `refs/BUILDER/NODE/ID`, and a file for all of them,
`refs/__group__/GROUP` (https://github.com/docker/buildx, localstate). A failed build has no other list of its records:
the engine lists the records of all builds, without the names of targets.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader
from dynamo_containers.engine import endpoint

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

REF = "buildx.build.ref"
GROUPS = "__group__"
EVERY_NODE = "*/*"
"""A pattern for any BUILDER/NODE."""
CLOCK_TOLERANCE = 0.05
"""Seconds by which a file may seem older than it is, because clocks of file systems are coarse."""


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of buildx's state, given the variables of `engine.environment`."""
    variables = {**os.environ, **environment}
    return Path(variables.get("BUILDX_CONFIG") or endpoint.config_folder(variables) / "buildx") / "refs"


def from_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return record -> target, from the metadata of a bake that succeeded."""
    return {row[REF]: target for target, row in metadata.items() if isinstance(row, dict) and REF in row}


def with_nodes(state: Path, records: Mapping[str, str]) -> dict[str, str]:
    """Return the records and those of the other nodes of the builder: the metadata has one record per target."""
    row = next((_read(state / record) for record in records), {})
    group = row.get("GroupRef", "")
    return {**_group_records(state, group), **records} if group else dict(records)


@dataclass(frozen=True, kw_only=True)
class StartedBuild:
    """A build that started, and wrote no metadata."""

    since: float
    """The time just before its start, in seconds since 1970."""
    contexts: Mapping[str, str]
    """Target -> the folder that it is built from."""
    target: str
    """One of its final targets."""
    node: str = EVERY_NODE
    """The BUILDER/NODE that it started on."""


def find_started(state: Path, build: StartedBuild, excluded: Container[str] = ()) -> dict[str, str]:
    """Return record -> target of the first build of these targets after a time; empty if there is none.

    Args:
        state: the folder of `state_folder`.
        build: the build to find.
        excluded: records that belong to other builds.
    """
    with suppress(FileNotFoundError):
        groups = [(entry.stat().st_mtime, entry.name) for entry in os.scandir(state / GROUPS)]
        for moment, group in sorted(groups):
            in_time = moment >= build.since - CLOCK_TOLERANCE
            records = _group_records(state, group, build.node) if in_time else {}
            if build.target in records.values() and all(
                ref not in excluded and _has_context(state / ref, target, build.contexts)
                for ref, target in records.items()
            ):
                return records
    return {}


def _group_records(state: Path, group: str, node: str = EVERY_NODE) -> dict[str, str]:
    refs = set(_read(state / GROUPS / group).get("Refs", ()))
    return {f"{folder}/{ref}": target for folder, ref, target in _targets(state, refs, node)}


def _targets(state: Path, refs: set[str], pattern: str) -> Iterator[tuple[str, str, str]]:
    for node in sorted(folder for folder in state.glob(f"{pattern}/") if folder.parent.name != GROUPS):
        for ref in sorted(refs):
            target = _read(node / ref).get("Target", "")
            if target:
                yield str(node.relative_to(state)), ref, target


def _has_context(file: Path, target: str, contexts: Mapping[str, str]) -> bool:
    return contexts.get(target) == _read(file).get("LocalPath")


def _read(file: Path) -> dict[str, Any]:
    """Return the content of a state file; empty if it is gone, or from another version of buildx."""
    content = file_reader.cached_json(file)
    return content if isinstance(content, dict) else {}
