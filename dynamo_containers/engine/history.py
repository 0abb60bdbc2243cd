"""BuildKit's record of a build: parser of `docker buildx history logs --progress rawjson`.

Each line has some vertexes, what they write and how far they are (https://pkg.go.dev/github.com/moby/buildkit/client
#SolveStatus). A vertex comes again whenever its state changes; the record of a target also has the vertexes of the
targets below it.
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CANCELED = "context canceled"
"""The error of what was given up because something else failed."""


@dataclass(frozen=True, kw_only=True)
class Vertex:
    """One thing that BuildKit did; times in seconds since 1970, None where it did not begin or end."""

    name: str
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""
    log: str = ""
    """What it wrote, in the order in which it came."""

    @property
    def canceled(self) -> bool:
        """Say whether it was given up because something else failed."""
        return self.error.endswith(CANCELED) or (self.started is not None and self.completed is None)


@dataclass
class _Written:
    """What the vertexes of one stream wrote."""

    of: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        self.of.setdefault(row["vertex"], []).append(b64decode(row["data"]))

    def text(self, digest: str) -> str:
        return b"".join(self.of.get(digest, ())).decode(errors="replace")


def asking(record: str) -> tuple[str, ...]:
    """Return the words of buildx that print this stream for a record, which is named ID or BUILDER/NODE/ID."""
    return ("history", "logs", "--progress=rawjson", record.rpartition("/")[2])


def parse(stream: str) -> dict[str, Vertex]:
    """Return digest -> vertex of one record, in the order in which they came; a line that is no JSON says nothing.

    Raises:
        ValueError: the stream has another form.
    """
    found: dict[str, Vertex] = {}
    written = _Written()
    try:
        for line in stream.splitlines():
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            for row in said.get("vertexes", ()):
                found[row["digest"]] = _later(found.get(row["digest"]), _vertex(row))
            for row in said.get("logs", ()):
                written.add(row)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"buildx says this in another form than known here: {error}"
        raise ValueError(message) from None
    return {digest: replace(vertex, log=written.text(digest)) for digest, vertex in found.items()}


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
    """Return the later state of a vertex: it is first named, then begun, then ended, maybe in parts."""
    if before is None or before.started is None:
        return now
    started = before.started if now.started is None else min(before.started, now.started)
    return replace(now, started=started, completed=now.completed or before.completed, error=now.error or before.error)


def merged(records: Iterable[Mapping[str, Vertex]]) -> dict[str, Vertex]:
    """Return what several records say together: who did a thing says more than who found it done."""
    found: dict[str, Vertex] = {}
    for vertexes in records:
        for digest, vertex in vertexes.items():
            found[digest] = max(vertex, found.get(digest, vertex), key=_says)
    return found


def _says(vertex: Vertex) -> tuple[bool, bool, bool, float]:
    failed, did = bool(vertex.error) and not vertex.canceled, vertex.completed is not None and not vertex.cached
    took = (vertex.completed or 0) - (vertex.started or 0) if did else 0
    return failed, did, vertex.started is not None, took
