"""BuildKit's record of a build: parser of `docker buildx history logs --progress rawjson`.

Each line has vertexes, their output and their state (https://pkg.go.dev/github.com/moby/buildkit/client#SolveStatus).
A vertex is repeated whenever its state changes. The record of a target also has the vertexes of the targets below it.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CANCELED = "context canceled"
"""The error of a vertex that was canceled because another one failed."""


@dataclass(frozen=True, kw_only=True)
class Vertex:
    """A step of BuildKit; times in seconds since 1970, None if it did not start or end."""

    name: str
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""
    log: str = ""
    """Its output, in order."""

    @property
    def canceled(self) -> bool:
        """Say whether it was canceled because another vertex failed."""
        return self.error.endswith(CANCELED) or (self.started is not None and self.completed is None)


@dataclass
class _VertexOutput:
    """The output of the vertexes of one stream."""

    chunks: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        self.chunks.setdefault(row["vertex"], []).append(b64decode(row["data"]))

    def text(self, digest: str) -> str:
        return b"".join(self.chunks.get(digest, ())).decode(errors="replace")


def log_arguments(record: str) -> tuple[str, ...]:
    """Return the buildx arguments that print the stream of a record, which is named ID or BUILDER/NODE/ID."""
    return ("history", "logs", "--progress=rawjson", record.rpartition("/")[2])


def parse(stream: str) -> dict[str, Vertex]:
    """Return digest -> vertex of one record, in order; lines that are not JSON are ignored.

    Raises:
        ValueError: the stream has another form.
    """
    vertexes: dict[str, Vertex] = {}
    output = _VertexOutput()
    try:
        for line in stream.splitlines():
            if not line.startswith("{"):
                continue
            event = file_reader.parse_json(line)
            for row in event.get("vertexes", ()):
                vertexes[row["digest"]] = _later(vertexes.get(row["digest"]), _vertex(row))
            for row in event.get("logs", ()):
                output.add(row)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"the output of this version of buildx has an unknown form: {error}"
        raise ValueError(message) from None
    return {digest: replace(vertex, log=output.text(digest)) for digest, vertex in vertexes.items()}


def _vertex(row: Mapping[str, Any]) -> Vertex:
    return Vertex(
        name=row["name"],
        started=_time(row.get("started")),
        completed=_time(row.get("completed")),
        cached=bool(row.get("cached")),
        error=str(row.get("error") or ""),
    )


def _time(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _later(before: Vertex | None, now: Vertex) -> Vertex:
    """Return the later state of a vertex: it is listed, then started, then completed, maybe in several intervals."""
    if before is None or before.started is None:
        return now
    started = before.started if now.started is None else min(before.started, now.started)
    return replace(now, started=started, completed=now.completed or before.completed, error=now.error or before.error)


def merge(records: Iterable[Mapping[str, Vertex]]) -> dict[str, Vertex]:
    """Return the vertexes of several records; the record that ran a vertex is preferred to one that had it cached."""
    merged: dict[str, Vertex] = {}
    for vertexes in records:
        for digest, vertex in vertexes.items():
            merged[digest] = max(vertex, merged.get(digest, vertex), key=_rank)
    return merged


def _rank(vertex: Vertex) -> tuple[bool, bool, bool, float]:
    failed, ran = bool(vertex.error) and not vertex.canceled, vertex.completed is not None and not vertex.cached
    seconds = (vertex.completed or 0) - (vertex.started or 0) if ran else 0
    return failed, ran, vertex.started is not None, seconds
