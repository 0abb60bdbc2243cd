"""Which build caches answer: the engine is asked in an empty build, and its history names a cache at fault.

BuildKit goes on without a cache that it cannot have, after asking for it once for each step. Asked before, the build
is told of those that are there, and a person what is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping  # noqa: TC003 - a field of a dataclass
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process, state
from dynamo_containers.engine import history
from dynamo_containers.errors import CommandFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.plan.caches import Cache, Caches

SECONDS = 20
"""How long one registry may take to answer."""
PREFIX = "importing cache manifest from "
"""How BuildKit names the vertex that asks for a cache."""
ABSENT = "not found"
WHY = re.compile(
    r"^(?:failed to configure registry cache importer|failed to do request|\w+ \"[^\"]*\"|dial tcp(?: \S+)?|connect): "
)
"""What stands before the reason."""

FAILED_BUILDS = ("history", "ls", "--filter", "status=error", "--format", "{{json .}}")
OTHER_BYTES = re.compile(r"unexpected commit digest (sha256:[0-9a-f]{64}), expected (sha256:[0-9a-f]{64})")
"""How BuildKit says that content came which has not the digest that it was asked for by."""
NOT_HANDED_OUT = re.compile(r"failed to copy: |could not fetch content descriptor|httpReadSeeker|blob unknown")
"""How it says that content which a cache promised did not come."""
WRITING = "exporting cache to "
"""How BuildKit names the vertex that writes a cache."""


def usable(docker: Docker, folder: Path, caches: Caches) -> tuple[Caches, tuple[str, ...]]:
    """Return the caches that a build can use, and a line for each place that it has to do without.

    A place that does not answer is not written to either: a build would wait for it once more at its end.
    """
    places = dict.fromkeys(cache.place for cache in (*caches.read, *caches.write.values()))
    asked = {place: [cache for cache in caches.read if cache.place == place] for place in places}
    # A place that is only written to is asked for what is written.
    asked = {
        place: found or [each for each in caches.write.values() if each.place == place]
        for place, found in asked.items()
    }
    with ThreadPoolExecutor(len(asked) or 1) as pool:
        answers = dict(zip(asked, pool.map(lambda found: _answers(docker, folder, found), asked.values()), strict=True))
    why = {place: reason for place, found in answers.items() if (reason := _unreached(found))}
    why |= _not_made(cache.place for cache in caches.write.values() if cache.local)
    there = {reference for found in answers.values() for reference, reason in found.items() if not reason}
    kept = replace(
        caches,
        read=tuple(cache for cache in caches.read if cache.reference in there and cache.place not in why),
        write={image: cache for image, cache in caches.write.items() if cache.place not in why},
    )
    return kept, tuple(_lines(caches, kept, why))


def _not_made(places: Iterable[str]) -> dict[str, str]:
    """Make the folders that caches are written to, which bake wants to be there; return why one could not be made."""
    why = {}
    for place in places:
        try:
            Path(place).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why[place] = str(error.strerror).lower()
    return why


def _unreached(answers: Mapping[str, str]) -> str:
    """Return why a place does not answer; '' if it says so much as that something is not there."""
    if any(reason in ("", ABSENT) for reason in answers.values()):
        return ""
    return next(iter(answers.values()), "")


def _lines(caches: Caches, kept: Caches, why: Mapping[str, str]) -> Iterator[str]:
    for place, reason in why.items():
        yield f"The build cache at {place} is not used: {reason}. The build goes on without it."
    for place in dict.fromkeys(cache.place for cache in caches.read):
        if place not in why and place not in {cache.place for cache in kept.read}:
            yield f"The build cache at {place} has nothing for this yet."


def _answers(docker: Docker, folder: Path, caches: Iterable[Cache]) -> dict[str, str]:
    """Return reference -> '' where it is there, `not found`, or why its place does not answer."""
    found = {cache.reference: _of_folder(cache) for cache in caches if cache.local}
    remote = [cache for cache in caches if not cache.local]
    return found | (_of_registry(docker, folder, remote) if remote else {})


def _of_folder(cache: Cache) -> str:
    return "" if (Path(cache.reference) / "index.json").is_file() else ABSENT


def _of_registry(docker: Docker, folder: Path, caches: Iterable[Cache]) -> dict[str, str]:
    caches = tuple(caches)
    path = folder / state.cache_document(_name(caches[0].place))
    process.write(process.Document(path=path, text=json.dumps(document(folder, caches), indent=2) + "\n"))
    flags = (f"--allow=fs.read={folder}", "--progress=rawjson", "--file", str(path))
    command = process.Command(argv=(*docker.buildx, "bake", *flags), env=docker.environment)
    try:
        finished = process.query(command, seconds=SECONDS)
    except process.TooSlowError:
        return {cache.reference: f"no answer within {SECONDS} s" for cache in caches}
    if finished.returncode:
        message = f"The engine did not say which build caches there are:\n{finished.stderr}"
        raise CommandFailedError(message)
    said = reasons(finished.stderr)
    return {cache.reference: said.get(cache.reference, "the engine did not ask for it") for cache in caches}


def _name(place: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", place)


def document(folder: Path, caches: Iterable[Cache]) -> dict[str, object]:
    """Return the bake document of a build of one file, which asks for caches before it begins."""
    target = {
        "context": str(folder / "containers" / "bin"),
        "dockerfile-inline": "FROM scratch\nCOPY online /\n",
        "cache-from": [cache.source for cache in caches],
        "output": ["type=cacheonly"],
        "attest": ["type=provenance,disabled=true"],
    }
    return {"group": {"default": {"targets": ["ask"]}}, "target": {"ask": target}}


def reasons(progress: str) -> dict[str, str]:
    """Read what buildx says with --progress=rawjson: reference -> '' for a cache that is there, or why it is not."""
    return {
        reference: reason(vertex.error, reference)
        for vertex in history.parse(progress).values()
        if vertex.completed and (reference := vertex.name.removeprefix(PREFIX)) != vertex.name
    }


def reason(error: str, reference: str) -> str:
    """Return why BuildKit has not a cache, in the words that say so."""
    if error.endswith(f"{reference}: not found"):
        return ABSENT
    while (shorter := WHY.sub("", error)) != error:
        error = shorter
    return error.splitlines()[0] if error else ""


def reading_fault(docker: Docker, caches: Iterable[Cache], since: str) -> str:
    """Return what a cache did wrong to a build that failed, in one line; '' if it was none of them.

    Args:
        docker: the docker CLI that reaches the node.
        caches: those that the build was told of.
        since: the time at which it began, as `2026-11-24T18:02:11`, in UTC.
    """
    places = ", ".join(dict.fromkeys(cache.place for cache in caches))
    for message in _errors(docker, since) if places else ():
        if found := OTHER_BYTES.search(message):
            return f"The build cache at {places} has other bytes than it says ({found[1]} for {found[2]}): refused."
        if NOT_HANDED_OUT.search(message):
            return f"The build cache at {places} did not hand out what it has: {message.splitlines()[0]}."
    return ""


def _errors(docker: Docker, since: str) -> list[str]:
    """Return why builds failed since a time; nothing where this buildx or this builder keeps no history."""
    try:
        listed = process.capture(process.Command(argv=(*docker.buildx, *FAILED_BUILDS), env=docker.environment))
        rows = [json.loads(line) for line in listed.splitlines() if line.startswith("{")]
        references = [row["ref"].rpartition("/")[2] for row in rows if row["created_at"][: len(since)] >= since]
        return [_error(docker, reference) for reference in references]
    except (CommandFailedError, KeyError, ValueError):
        return []


def _error(docker: Docker, reference: str) -> str:
    argv = (*docker.buildx, "history", "inspect", "--format", "json", reference)
    known = json.loads(process.capture(process.Command(argv=argv, env=docker.environment)))
    return str((known.get("Error") or {}).get("Message", ""))


def writing_fault(docker: Docker, reference: str) -> str:
    """Return why a build did not write its cache, in one line; '' if it did, or if nothing is known of it.

    Args:
        docker: the docker CLI that reaches the node.
        reference: the build, as its metadata names it (`buildx.build.ref`).
    """
    argv = (*docker.buildx, *history.log_arguments(reference))
    try:
        said = process.query(process.Command(argv=argv, env=docker.environment), check=True)
        return failure(said.stdout + said.stderr)
    except (CommandFailedError, ValueError):
        return ""


def failure(progress: str) -> str:
    """Return the error of the vertex that writes a cache."""
    errors = (each.error for each in history.parse(progress).values() if each.name.startswith(WRITING))
    return next((error.splitlines()[0] for error in errors if error), "")
