"""Was a cache at fault? Asked of BuildKit's history of builds, when a build failed or was to write a cache."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.engine import history
from dynamo_containers.errors import CommandFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.builds.cache_probe import Engine
    from dynamo_containers.plan.caches import Cache

FAILED = ("history", "ls", "--filter", "status=error", "--format", "{{json .}}")
OTHER_BYTES = re.compile(r"unexpected commit digest (sha256:[0-9a-f]{64}), expected (sha256:[0-9a-f]{64})")
"""How BuildKit says that content came which has not the digest that it was asked for by."""
NOT_HANDED_OUT = re.compile(r"failed to copy: |could not fetch content descriptor|httpReadSeeker|blob unknown")
"""How it says that content which a cache promised did not come."""
WRITING = "exporting cache to "
"""How BuildKit names the vertex that writes a cache."""


def of_reading(engine: Engine, caches: Iterable[Cache], since: str) -> str:
    """Return what a cache did wrong to a build that failed, in one line; '' if it was none of them.

    Args:
        engine: whom to ask.
        caches: those that the build was told of.
        since: the time at which it began, as `2026-11-24T18:02:11`, in UTC.
    """
    places = ", ".join(dict.fromkeys(cache.place for cache in caches))
    for message in _errors(engine, since) if places else ():
        if found := OTHER_BYTES.search(message):
            return f"The build cache at {places} has other bytes than it says ({found[1]} for {found[2]}): refused."
        if NOT_HANDED_OUT.search(message):
            return f"The build cache at {places} did not hand out what it has: {message.splitlines()[0]}."
    return ""


def _errors(engine: Engine, since: str) -> list[str]:
    """Return why builds failed since a time; nothing where this buildx or this builder keeps no history."""
    try:
        listed = process.capture(process.Command(argv=(*engine.buildx, *FAILED), env=engine.environment))
        rows = [json.loads(line) for line in listed.splitlines() if line.startswith("{")]
        references = [row["ref"].rpartition("/")[2] for row in rows if row["created_at"][: len(since)] >= since]
        return [_error(engine, reference) for reference in references]
    except (CommandFailedError, KeyError, ValueError):
        return []


def _error(engine: Engine, reference: str) -> str:
    argv = (*engine.buildx, "history", "inspect", "--format", "json", reference)
    known = json.loads(process.capture(process.Command(argv=argv, env=engine.environment)))
    return str((known.get("Error") or {}).get("Message", ""))


def of_writing(engine: Engine, reference: str) -> str:
    """Return why a build did not write its cache, in one line; '' if it did, or if nothing is known of it.

    Args:
        engine: whom to ask.
        reference: the build, as its metadata names it (`buildx.build.ref`).
    """
    argv = (*engine.buildx, *history.asking(reference))
    try:
        said = process.outputs(process.Command(argv=argv, env=engine.environment))
        return failure(said.stdout + said.stderr)
    except (CommandFailedError, ValueError):
        return ""


def failure(progress: str) -> str:
    """Return the error of the vertex that writes a cache."""
    errors = (each.error for each in history.parse(progress).values() if each.name.startswith(WRITING))
    return next((error.splitlines()[0] for error in errors if error), "")
