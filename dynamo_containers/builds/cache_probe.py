"""Availability of build caches, from an empty build before a build, and their faults, from the history after it.

BuildKit builds without a cache that is unavailable, but it queries that cache again for each target. So a build is
given available caches only, and the user is told which are missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - a field of a dataclass
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process, spelling, state
from dynamo_containers.engine import history
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.plan import bake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.plan.caches import Cache, Caches

SECONDS = 20
"""Time limit for the answer of one registry."""
PREFIX = "importing cache manifest from "
"""Start of the name of a vertex that imports a cache."""
ABSENT = "not found"
CONTEXT = re.compile(
    r"^(?:failed to configure registry cache importer|failed to do request|\w+ \"[^\"]*\"|dial tcp(?: \S+)?|connect): "
)
"""Text before the reason in an error."""

FAILED_BUILDS = ("history", "ls", "--filter", "status=error", "--format", "{{json .}}")
OTHER_BYTES = re.compile(r"unexpected commit digest (sha256:[0-9a-f]{64}), expected (sha256:[0-9a-f]{64})")
"""Error of BuildKit about content with another digest than the requested one."""
NOT_SERVED = re.compile(r"failed to copy: |could not fetch content descriptor|httpReadSeeker|blob unknown")
"""Errors of BuildKit about content that a cache lists but does not serve."""
WRITING = "exporting cache to "
"""Start of the name of a vertex that writes a cache."""


def usable_caches(docker: Docker, folder: Path, caches: Caches) -> tuple[Caches, tuple[str, ...]]:
    """Return the caches that a build can use, and a line for each place that is not used.

    A place that does not answer is not written to either: the build would wait for it again at its end.
    """
    queries = _queries(caches)
    with ThreadPoolExecutor(len(queries) or 1) as pool:
        results = pool.map(lambda place_caches: _answers(docker, folder, place_caches), queries.values())
        answers = dict(zip(queries, results, strict=True))
    failures = {place: reason for place, answer in answers.items() if (reason := _unreachable_reason(answer))}
    failures |= _make_folders(cache.place for cache in caches.write.values() if cache.local)
    available = {reference for answer in answers.values() for reference, reason in answer.items() if not reason}
    usable = replace(
        caches,
        read=tuple(cache for cache in caches.read if cache.reference in available and cache.place not in failures),
        write={image: cache for image, cache in caches.write.items() if cache.place not in failures},
    )
    return usable, tuple(_lines(caches, usable, failures))


def _queries(caches: Caches) -> dict[str, list[Cache]]:
    """Return place -> the caches to query there: those that are read, else those that are written."""
    places = dict.fromkeys(cache.place for cache in (*caches.read, *caches.write.values()))
    return {
        place: [cache for cache in caches.read if cache.place == place]
        or [cache for cache in caches.write.values() if cache.place == place]
        for place in places
    }


def _make_folders(places: Iterable[str]) -> dict[str, str]:
    """Make the folders that bake writes caches to; return folder -> why it could not be made."""
    failures = {}
    for place in places:
        try:
            Path(place).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            failures[place] = str(error.strerror).lower()
    return failures


def _unreachable_reason(answers: Mapping[str, str]) -> str:
    """Return why a place does not answer; '' if it answers for any cache, even with `not found`."""
    if any(reason in ("", ABSENT) for reason in answers.values()):
        return ""
    return next(iter(answers.values()), "")


def _lines(caches: Caches, usable: Caches, failures: Mapping[str, str]) -> Iterator[str]:
    for place, reason in failures.items():
        yield f"The build cache at {place} is not used: {reason}. The build continues without it."
    for place in dict.fromkeys(cache.place for cache in caches.read):
        if place not in failures and place not in {cache.place for cache in usable.read}:
            yield f"The build cache at {place} has nothing for this build yet."


def _answers(docker: Docker, folder: Path, caches: Iterable[Cache]) -> dict[str, str]:
    """Return reference -> '' for an available cache, `not found`, or why its place does not answer."""
    answers = {cache.reference: _folder_answer(cache) for cache in caches if cache.local}
    remote = [cache for cache in caches if not cache.local]
    return answers | (_registry_answers(docker, folder, remote) if remote else {})


def _folder_answer(cache: Cache) -> str:
    return "" if (Path(cache.reference) / "index.json").is_file() else ABSENT


def _registry_answers(docker: Docker, folder: Path, caches: Iterable[Cache]) -> dict[str, str]:
    caches = tuple(caches)
    path = folder / state.cache_document(spelling.file_name(caches[0].place))
    process.write(process.Document(path=path, text=bake.render(probe_document(folder, caches))))
    flags = (f"--allow=fs.read={folder}", "--progress=rawjson", "--file", str(path))
    command = process.Command(argv=(*docker.buildx, "bake", *flags), env=docker.environment)
    try:
        finished = process.query(command, seconds=SECONDS)
    except process.TooSlowError:
        return {cache.reference: f"no answer within {SECONDS} s" for cache in caches}
    if finished.returncode:
        message = f"The engine did not report which build caches exist:\n{finished.stderr}"
        raise CommandFailedError(message)
    answers = parse_answers(finished.stderr)
    return {cache.reference: answers.get(cache.reference, "the engine did not query it") for cache in caches}


def probe_document(folder: Path, caches: Iterable[Cache]) -> dict[str, object]:
    """Return the bake document of a build of one file, which imports the caches."""
    target = {
        "context": str(folder / "containers" / "bin"),
        "dockerfile-inline": "FROM scratch\nCOPY online /\n",
        "cache-from": [cache.source for cache in caches],
        "output": ["type=cacheonly"],
        "attest": ["type=provenance,disabled=true"],
    }
    return {"group": {"default": {"targets": ["ask"]}}, "target": {"ask": target}}


def parse_answers(progress: str) -> dict[str, str]:
    """Parse the output of `--progress=rawjson`: reference -> '' for an available cache, else the reason."""
    return {
        reference: short_reason(vertex.error, reference)
        for vertex in history.parse(progress).values()
        if vertex.completed and (reference := vertex.name.removeprefix(PREFIX)) != vertex.name
    }


def short_reason(error: str, reference: str) -> str:
    """Return the end of an error of BuildKit, which has the reason."""
    if error.endswith(f"{reference}: not found"):
        return ABSENT
    while (shorter := CONTEXT.sub("", error)) != error:
        error = shorter
    return error.splitlines()[0] if error else ""


def reading_fault(docker: Docker, caches: Iterable[Cache], since: str) -> str:
    """Return the fault of a cache that failed a build, in one line; '' if no cache is at fault.

    Args:
        docker: the docker CLI that reaches the node.
        caches: the caches that the build read.
        since: the time at which the build started, as `2026-11-24T18:02:11`, in UTC.
    """
    places = ", ".join(dict.fromkeys(cache.place for cache in caches))
    for message in _errors(docker, since) if places else ():
        if digests := OTHER_BYTES.search(message):
            return f"The build cache at {places} has other bytes than it lists ({digests[1]}, not {digests[2]})."
        if NOT_SERVED.search(message):
            return f"The build cache at {places} does not serve what it lists: {message.splitlines()[0]}."
    return ""


def _errors(docker: Docker, since: str) -> list[str]:
    """Return the errors of builds since a time; [] where this buildx or this builder has no history."""
    try:
        listed = process.capture(process.Command(argv=(*docker.buildx, *FAILED_BUILDS), env=docker.environment))
        rows = [file_reader.parse_json(line) for line in listed.splitlines() if line.startswith("{")]
        references = [row["ref"].rpartition("/")[2] for row in rows if row["created_at"][: len(since)] >= since]
        return [_error(docker, reference) for reference in references]
    except (CommandFailedError, KeyError, ValueError):
        return []


def _error(docker: Docker, reference: str) -> str:
    argv = (*docker.buildx, "history", "inspect", "--format", "json", reference)
    details = file_reader.parse_json(process.capture(process.Command(argv=argv, env=docker.environment)))
    return str((details.get("Error") or {}).get("Message", ""))


def writing_fault(docker: Docker, reference: str) -> str:
    """Return why a build did not write its cache, in one line; '' if it did, or if its log is unavailable.

    Args:
        docker: the docker CLI that reaches the node.
        reference: the reference of the build in its metadata (`buildx.build.ref`).
    """
    argv = (*docker.buildx, *history.log_arguments(reference))
    try:
        log = process.query(process.Command(argv=argv, env=docker.environment), check=True)
        return export_error(log.stdout + log.stderr)
    except (CommandFailedError, ValueError):
        return ""


def export_error(progress: str) -> str:
    """Return the error of the vertex that writes a cache."""
    errors = (vertex.error for vertex in history.parse(progress).values() if vertex.name.startswith(WRITING))
    return next((error.splitlines()[0] for error in errors if error), "")
