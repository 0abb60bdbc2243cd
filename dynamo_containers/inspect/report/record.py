"""Report of one build: its values, and their JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dynamo_containers.inspect.sizes import manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.inspect.sizes.manifest import ImageSize

FORMAT = 1
"""Of the files; a report of another format is left alone by this version."""

DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
"""How a build ended."""
PREPARING, BUILDING, MEASURING = "preparing", "building", "measuring"
"""Where it was when it ended otherwise: roots and downloads, the engine, budgets."""
CACHED, CANCELED, WAITING = "cached", "canceled", "waiting"
"""How a step ended, besides DONE and FAILED: taken from the cache, given up because another failed, never begun."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for."""

    command: str
    """The line to paste for the same again."""
    stage: str
    images: tuple[str, ...]
    bases: str
    platforms: tuple[str, ...]
    revision: str = ""
    """The commit of the checkout, with `-dirty` when it has changes; '' where the build failed before it was asked."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a build did not end well."""

    phase: str
    """PREPARING, BUILDING or MEASURING."""
    message: str
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One line of a Dockerfile, as BuildKit did it."""

    name: str
    state: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One of the machines that built, where that was not the engine in use alone, or not as one graph."""

    name: str
    platforms: tuple[str, ...]
    """What it built for."""
    variables: Mapping[str, str]
    """What a call of docker must have in its environment to find it from here; nothing for the engine in use."""
    joined: bool
    """Whether its steps were stages of one Dockerfile."""
    records: tuple[str, ...] = ()
    """Which of the records are its own."""
    unknown: str = ""
    """Why its steps are not known, where that is so."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the graph on one platform."""

    name: str
    platform: str
    state: str
    seconds: float
    """How long the engine worked on it; what waits, or comes out of the cache, takes none."""
    spans: tuple[tuple[float, float], ...]
    """When that was, from and to, in seconds since the build began."""
    instructions: tuple[Instruction, ...]
    log: tuple[str, ...] = ()
    """The tail of what the failed instruction wrote."""
    machine: str = ""
    """The machine that did it; '' in an ordinary build."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that the build made or found made."""

    name: str
    """Image, stage, bases and architecture: what its sizes are kept under."""
    stage: str
    tag: str
    digest: str
    trees: tuple[str, ...]
    """The steps that put a `/tree` on it, from below: they give layers their names (image_size.measured)."""
    budget: Mapping[str, int] = field(default_factory=dict)
    """What it may weigh, as images.toml said then."""
    size: ImageSize | None = None
    """None where it was not measured."""
    unmeasured: str = ""
    """Why it was not, where that is known."""
    pushed: str = ""
    """Where its manifest is in a registry; '' for one that is in the store of the engine in use."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One build."""

    name: str
    """When it began, and by which process: sorts by time."""
    asked: Asked
    started: float
    """In seconds since 1970."""
    seconds: float = 0.0
    outcome: str = INTERRUPTED
    failure: Failure | None = None
    graph: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Step -> the steps that it needs."""
    records: Mapping[str, str] = field(default_factory=dict)
    """BuildKit's name of the record of a step (BUILDER/NODE/ID) -> that step."""
    machines: tuple[Machine, ...] = ()
    """Those that built; none in an ordinary build."""
    steps: tuple[Step, ...] | None = None
    """None where the engine was not asked, or not asked in time."""
    unknown: str = ""
    """Why there are no steps, where that is known."""
    images: tuple[Image, ...] = ()

    @property
    def failed_step(self) -> Step | None:
        """Return the step that failed, None where none did or none is known."""
        return next((step for step in self.steps or () if step.state == FAILED), None)


def text(report: Report) -> str:
    """Return the JSON of a report."""
    return json.dumps({"format": FORMAT, **asdict(report)}, indent=1, ensure_ascii=False) + "\n"


def read(content: str) -> Report | None:
    """Return the report that a text is, None for one of another format.

    Raises:
        ValueError: it is no report.
    """
    try:
        row = json.loads(content)
        return _report(row) if row.pop("format") == FORMAT else None
    except (KeyError, TypeError, AttributeError) as error:
        message = f"no report of a build: {error}"
        raise ValueError(message) from None


def _report(row: Mapping[str, Any]) -> Report:
    steps = row["steps"]
    return replace(
        Report(**row),
        asked=Asked(**_tuples(row["asked"], "images", "platforms")),
        failure=Failure(**row["failure"]) if row["failure"] else None,
        graph={name: tuple(needed) for name, needed in row["graph"].items()},
        steps=None if steps is None else tuple(_step(each) for each in steps),
        machines=tuple(Machine(**_tuples(each, "platforms", "records")) for each in row.get("machines", ())),
        images=tuple(_image({"stage": row["asked"]["stage"], **each}) for each in row["images"]),
    )


def _tuples(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: tuple(value) if key in keys else value for key, value in row.items()}


def _step(row: Mapping[str, Any]) -> Step:
    instructions = tuple(Instruction(**each) for each in row["instructions"])
    spans = tuple((start, end) for start, end in row["spans"])
    return Step(**{**_tuples(row, "log"), "instructions": instructions, "spans": spans})


def _image(row: Mapping[str, Any]) -> Image:
    return Image(
        **{**_tuples(row, "trees"), "size": manifest.from_rows(row["size"]["layers"]) if row["size"] else None}
    )
