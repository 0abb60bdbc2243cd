"""Bake document of a request, and the command that builds it.

Every image of a request is a target of ONE document, linked by named contexts, so that a shared step is built once and
independent ones in parallel (docs/adr/0002). Each folder of containers/ is one step of the graph.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts.catalogue import Catalogue, Image, Stage
from dynamo_containers.facts.mirrors import Mirrors
from dynamo_containers.plan import graph, source_builds, source_policy
from dynamo_containers.plan.labels import labels
from dynamo_containers.platforms import Platform, parse_platforms
from dynamo_containers.process import Command, Document, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.plan.layer_split import Piece
    from dynamo_containers.plan.source_builds import Source
    from dynamo_containers.plan.target import Steps

DEFAULT_BASES = "debian"
NO_PROVENANCE = {"BUILDX_METADATA_PROVENANCE": "disabled"}
"""Of the metadata only the digest is read; the provenance of every step would be asked for one by one."""
DIGEST = "containerimage.digest"
"""Where bake's metadata has the digest of an image (https://docs.docker.com/reference/cli/docker/buildx/bake/)."""
DENIED = """
Where it says `denied by policy`, a step uses an image, an address or a repository that is not pinned. Name an image or
a release in containers/images.toml and pin it with: invoke lock. Give an `ADD` of a pinned address its --checksum."""
"""What to do about a source that BuildKit refused."""
OUTPUT = "type=docker,compression=zstd,compression-level=1,force-compression=true"
"""Into the engine's own store. zstd takes two thirds of gzip's time, and a vLLM image is an eighth smaller (ADR 9)."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, checked against the catalogue."""

    catalogue: Catalogue
    stage: Stage
    images: tuple[Image, ...]
    bases: Bases
    platforms: tuple[Platform, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Source (`dynamo`) -> what its wheels are built from; what is not there is fetched as wheels."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the world says: the values that a plan depends on and that no data file states."""

    native: Platform
    """The platform of the machine that builds."""
    version: str
    """The version of Dynamo that is locked."""
    revision: str
    """The commit of this checkout, with `-dirty` when it has changes."""
    locks: Mapping[str, str]
    """Image -> sha256 of the locks that go into it."""
    roots: Mapping[tuple[str, Platform], str]
    """(role, platform) -> digest of the root image in the OCI layout."""
    layout: Path
    """The OCI layout of root images."""
    programs: Path
    """A folder with a tree of programs per architecture."""
    pieces: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict)
    """Layer of Python packages -> the image layers that it is cut into, from below."""
    os_packages: Mapping[str, Path] = field(default_factory=dict)
    """Set of OS packages -> a folder with the .debs or RPMs per architecture."""
    toolchains: Mapping[str, Path] = field(default_factory=dict)
    """Set of OS packages -> a folder with the archive, per architecture, of the compiler that goes on it."""
    user: int = 1000
    """The UID of the person who builds, which a dev image's user gets."""
    drift: tuple[str, ...]
    """`package=version` of what is not what its lock says."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Source (`dynamo`) -> what its wheels are built from, with the state that a checkout is in."""
    secrets: tuple[str, ...]
    """`id=...,src=...`: the host's certificates, index address and netrc, as far as it has them."""
    mirrors: Mirrors = field(default_factory=Mirrors)
    """Where this machine looks for what registries and release pages have."""


def request(  # noqa: PLR0913 - the words of the command line
    catalogue: Catalogue,
    stage: Stage,
    *,
    images: Sequence[str] = (),
    platforms: Sequence[str] = (),
    bases: str = DEFAULT_BASES,
    strict: bool = False,
    sources: Mapping[str, str] | None = None,
) -> Request:
    """Check the words of the command line and return what they ask for; no word means every image, this platform.

    Args:
        catalogue: what exists.
        stage: the form of the images.
        images: their names.
        platforms: what they are built for.
        bases: what they stand on.
        strict: makes bases strict that are not by themselves.
        sources: Source (`dynamo`) -> what its wheels are built from (`source_builds.chosen`).

    Raises:
        LockError: a source is to be built that is not pinned.
        UsageError: a word is unknown, or a combination is not in the table; the message names what is.
    """
    if bases not in catalogue.bases:
        what = "bases"
        raise unknown_name(what, bases, catalogue.bases)
    having = {name: image for name, image in catalogue.images.items() if stage in image.stages and bases in image.bases}
    if not having:
        message = f"No image has a {stage.value} stage on the {bases} bases."
        raise UsageError(message)
    for name in images:
        if name not in having:
            raise _no_image(catalogue, name, stage, having)
    chosen = tuple(having[name] for name in dict.fromkeys(images)) or tuple(having.values())
    return Request(
        catalogue=catalogue,
        stage=stage,
        images=chosen,
        bases=replace(catalogue.bases[bases], strict=strict or catalogue.bases[bases].strict),
        platforms=_platforms(chosen, platforms),
        sources=source_builds.chosen(catalogue, sources or {}),
    )


def _no_image(catalogue: Catalogue, name: str, stage: Stage, choices: Iterable[str]) -> UsageError:
    """Return the error for an image that does not exist, or not in this stage, or not on these bases."""
    image = catalogue.images.get(name)
    if image is None:
        return unknown_name("image", name, choices)
    if stage not in image.stages:
        return UsageError(f"{name} has no {stage.value} stage; images that have one: {', '.join(choices)}")
    bases = " and ".join(image.bases)
    return UsageError(f"{name} is built on the {bases} bases only.\nAdd: --bases {image.bases[0]}")


def _platforms(images: tuple[Image, ...], words: Sequence[str]) -> tuple[Platform, ...]:
    shared = [each for each in Platform if all(each in image.platforms for image in images)]
    return parse_platforms(words, shared, images=", ".join(image.name for image in images))


def tag(image: Image, stage: Stage, bases: Bases, platforms: tuple[Platform, ...], version: str) -> str:
    """Return the tag of an image: one of several platforms has none in its name, one of a single platform its own."""
    form = "" if stage in (Stage.BASE, Stage.RUNTIME) else f"-{stage.value}"
    architecture = f"-{platforms[0].arch}" if len(platforms) == 1 else ""
    return f"{image.repository}{form}:{version}-{bases.name}{architecture}"


def metadata(document: Path) -> Path:
    """Return where bake says which images it made from a document: target -> `containerimage.digest`."""
    return document.with_suffix(".metadata")


def digests(document: Path) -> dict[str, str]:
    """Return target -> digest of the images that were made from a document; nothing where bake did not say which."""
    made = json.loads(metadata(document).read_bytes()) if metadata(document).is_file() else {}
    rows = {target: row for target, row in made.items() if isinstance(row, dict)}
    return {target: str(row[DIGEST]) for target, row in rows.items() if DIGEST in row}


def plan(
    request: Request,
    facts: Facts,
    environment: Mapping[str, str],
    buildx: tuple[str, ...] = ("docker", "buildx"),
    records: tuple[Document, ...] = (),
) -> Plan:
    """Return the bake document and the command that builds it.

    Args:
        request: what is asked for.
        facts: what the world says.
        environment: what docker needs to find its engine.
        buildx: how buildx is called.
        records: what is to be written down when it succeeded.
    """
    made = Made(path=document_path(request), content=bake(request, facts), policy=source_policy.policy(request, facts))
    return plan_of(made, request, facts, environment, buildx, records)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What is planned: a bake document with its policy."""

    path: Path
    content: Mapping[str, Any]
    policy: Mapping[str, Any]


def plan_of(  # noqa: PLR0913, PLR0917 - as `plan`
    made: Made,
    request: Request,
    facts: Facts,
    environment: Mapping[str, str],
    buildx: tuple[str, ...],
    records: tuple[Document, ...],
) -> Plan:
    """Return the documents and the command that builds them; the arguments are those of `plan`."""
    policies, policed = policy(made.policy, made.path)
    command = command_of(request, facts, buildx, made.path)
    command = replace(command, env={**environment, **command.env, **policed})
    document = Document(path=made.path, text=text_of(made.content))
    return Plan(documents=(document, *policies), commands=(command,), records=records)


def document_path(*requests: Request) -> Path:
    """Return where the bake document of requests is written: two that differ do not overwrite each other's.

    Requests of one document differ in their stages and images alone (plan/all_stages.py).
    """
    first = requests[0]
    stages = "-".join(request.stage.value for request in requests)
    names = "-".join(dict.fromkeys(image.name for request in requests for image in request.images))
    architectures = "-".join(platform.arch for platform in first.platforms)
    return first.catalogue.folder / ".build" / f"bake-{stages}-{names}-{first.bases.name}-{architectures}.json"


def text_of(document: Mapping[str, Any]) -> str:
    """Return a document as it is written."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def command_of(
    request: Request, facts: Facts, buildx: tuple[str, ...], path: Path, allowed: Sequence[str] = ()
) -> Command:
    """Return the command that builds a bake document.

    Args:
        request: what is asked for.
        facts: what the world says.
        buildx: how buildx is called.
        path: the bake document.
        allowed: flags by which more is allowed.
    """
    # bake wants to be told which files outside of this folder it may read (buildx 0.18 and newer).
    readable = [f"--allow=fs.read={secret.partition('src=')[2]}" for secret in facts.secrets]
    return Command(
        argv=(
            *buildx,
            "bake",
            *readable,
            f"--allow=fs.read={request.catalogue.folder}",
            *(f"--allow=fs.read={each.context}" for each in facts.sources.values() if each.local),
            *allowed,
            f"--metadata-file={metadata(path)}",
            "--file",
            str(path),
        ),
        env=NO_PROVENANCE,
        hint="The step that failed stands above, and on the page of: invoke report\n"
        "What was done is kept: to go on, run the same command.\n"
        "To give that up and free its space: invoke clean" + (DENIED if request.bases.strict else ""),
    )


def policy(rules: Mapping[str, Any], bake_file: Path) -> tuple[tuple[Document, ...], dict[str, str]]:
    """Return the document of a policy, if it has any rule, and the variable by which buildx finds it."""
    if not rules:
        return (), {}
    path = bake_file.with_name(f"policy-{bake_file.name}")
    return (Document(path=path, text=json.dumps(rules, indent=2) + "\n"),), {source_policy.VARIABLE: str(path)}


def bake(request: Request, facts: Facts) -> dict[str, Any]:
    """Return the bake document (https://docs.docker.com/build/bake/reference/) of a request."""
    steps: Steps = {}
    wanted = [graph.add_image(steps, request, facts, image, request.stage) for image in request.images]
    for name, image in zip(wanted, request.images, strict=True):
        steps[name] |= {
            "labels": labels(request, facts, image),
            "output": [OUTPUT],
            "tags": [tag(image, request.stage, request.bases, request.platforms, facts.version)],
        }
    return {"group": {"default": {"targets": wanted}}, "target": steps}
