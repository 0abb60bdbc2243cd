"""Report of one build: its values, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - msgspec resolves the types of the fields
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dynamo_containers import file_reader
from dynamo_containers.inspect.sizes import manifest
from dynamo_containers.inspect.sizes.manifest import ImageSize  # noqa: TC001 - as above

FORMAT = 2
"""Format of the files; this version ignores reports of another format."""

DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
"""How a build ended."""
PREPARING, BUILDING, MEASURING = "preparing", "building", "measuring"
"""Phase in which a build failed: root images and downloads, the engine, budgets."""
CACHED, CANCELED, WAITING = "cached", "canceled", "waiting"
"""State of a target besides DONE and FAILED: taken from the cache, stopped because another failed, never started."""


@dataclass(frozen=True, kw_only=True)
class RequestedBuild:
    """Request of a build."""

    command: str
    """The command that repeats the build."""
    stage: str
    images: tuple[str, ...]
    bases: str
    platforms: tuple[str, ...]
    revision: str = ""
    """The commit of the checkout, with `-dirty` when it has changes; '' where the build failed before it was read."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Reason why a build failed or was interrupted."""

    phase: str
    """`preparing`, `building` or `measuring`."""
    message: str
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class RecordedInstruction:
    """A line of a Dockerfile, as BuildKit ran it."""

    name: str
    state: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordedNode:
    """A machine that took part in a distributed build."""

    name: str
    platforms: tuple[str, ...]
    """The platforms that it built for."""
    variables: Mapping[str, str]
    """The environment variables by which docker finds it from here; none for the engine in use."""
    merged: bool
    """Whether its targets were stages of a single Dockerfile."""
    records: tuple[str, ...] = ()
    """BuildKit's records of its targets."""
    unknown_reason: str = ""
    """Why its targets are unknown; empty where they are known."""


@dataclass(frozen=True, kw_only=True)
class RecordedTarget:
    """A target of the build graph on one platform."""

    name: str
    platform: str
    state: str
    seconds: float
    """How long the engine worked on it; waiting and cached instructions take no time."""
    spans: tuple[tuple[float, float], ...]
    """When that was: start and end, in seconds since the build started."""
    instructions: tuple[RecordedInstruction, ...]
    log: tuple[str, ...] = ()
    """The last lines that the failed instruction printed."""
    node: str = ""
    """The node that built it; '' in an ordinary build."""


@dataclass(frozen=True, kw_only=True)
class RecordedImage:
    """An image of a build, new or up to date."""

    name: str
    """Image, stage, bases and architecture: the key of its sizes."""
    stage: str
    tag: str
    digest: str
    package_targets: tuple[str, ...]
    """The targets that copy a `/tree` into it, from the lowest on: layers are named after them."""
    budget: Mapping[str, int] = field(default_factory=dict)
    """Its limits in images.toml at that time."""
    size: ImageSize | None = None
    """Null where it was not measured."""
    unmeasured_reason: str = ""
    """Why it was not measured, as far as it is known."""
    pushed: str = ""
    """Registry, repository and digest of its manifest; '' where it is in the store of the engine in use."""
    pushed_tag: str = ""
    """The tag that was pushed, over all platforms; '' where nothing was pushed."""
    pushed_digest: str = ""
    """The digest of the index that the pushed tag names; '' where nothing was pushed, or no registry told it."""


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """Report of one build."""

    name: str
    """Its start and its process: names sort by time."""
    request: RequestedBuild
    started: float
    """In seconds since 1970."""
    seconds: float = 0.0
    outcome: str = INTERRUPTED
    """`done`, `failed` or `interrupted`."""
    failure: Failure | None = None
    graph: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target -> the targets that it needs."""
    records: Mapping[str, str] = field(default_factory=dict)
    """BuildKit's record of a target (BUILDER/NODE/ID) -> that target."""
    nodes: tuple[RecordedNode, ...] = ()
    """The machines of a distributed build; none in an ordinary build."""
    targets: tuple[RecordedTarget, ...] | None = None
    """Null where the engine was not queried, or too late."""
    unknown_reason: str = ""
    """Why there are no targets, as far as it is known."""
    images: tuple[RecordedImage, ...] = ()

    @property
    def failed_target(self) -> RecordedTarget | None:
        """Return the target that failed, None where none did or none is known."""
        return next((target for target in self.targets or () if target.state == FAILED), None)


def text(report: BuildReport) -> str:
    """Return the JSON of a report."""
    return json.dumps({"format": FORMAT, **asdict(report)}, indent=1, ensure_ascii=False) + "\n"


def read(content: str) -> BuildReport | None:
    """Return the report in a text, None for a report of another format.

    Raises:
        ValueError: it is not a report.
    """
    try:
        row = file_reader.parse_json(content)
        return _report(row) if row.pop("format") == FORMAT else None
    except (KeyError, TypeError, AttributeError) as error:
        message = f"not a report of a build: {error}"
        raise ValueError(message) from None


def _report(row: Mapping[str, Any]) -> BuildReport:
    targets = row["targets"]
    return replace(
        BuildReport(**row),
        request=RequestedBuild(**_tuples(row["request"], "images", "platforms")),
        failure=Failure(**row["failure"]) if row["failure"] else None,
        graph={name: tuple(needed) for name, needed in row["graph"].items()},
        targets=None if targets is None else tuple(map(_target, targets)),
        nodes=tuple(RecordedNode(**_tuples(node, "platforms", "records")) for node in row["nodes"]),
        images=tuple(map(_image, row["images"])),
    )


def _tuples(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: tuple(value) if key in keys else value for key, value in row.items()}


def _target(row: Mapping[str, Any]) -> RecordedTarget:
    instructions = tuple(RecordedInstruction(**instruction) for instruction in row["instructions"])
    spans = tuple((start, end) for start, end in row["spans"])
    return RecordedTarget(**{**_tuples(row, "log"), "instructions": instructions, "spans": spans})


def _image(row: Mapping[str, Any]) -> RecordedImage:
    size = manifest.from_rows(row["size"]["layers"]) if row["size"] else None
    return RecordedImage(**{**_tuples(row, "package_targets"), "size": size})
