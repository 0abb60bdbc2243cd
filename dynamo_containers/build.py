"""What must be built, and how? Pure: a request and the facts give one bake document and one command.

Every image of a request is a target of ONE document, linked by named contexts, so that a shared step is built once and
independent ones in parallel (docs/adr/0002). Each folder of containers/ is one step of the graph.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dynamo_containers import pulled
from dynamo_containers.bases import Root
from dynamo_containers.errors import UsageError
from dynamo_containers.model import IMAGES_FILE, Catalogue, Image, Stage, unknown
from dynamo_containers.model import platforms as platforms_of
from dynamo_containers.platforms import Platform
from dynamo_containers.run import Command, Document, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.bases import Bases

DEFAULT_BASES = "debian"
BUILDER_STEPS = ("builder", "base")
"""The folders of containers/ whose steps run in the builder's root image."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, checked against the catalogue."""

    catalogue: Catalogue
    stage: Stage
    images: tuple[Image, ...]
    bases: Bases
    platforms: tuple[Platform, ...]


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
    os_packages: Mapping[str, Path] = field(default_factory=dict)
    """Set of OS packages -> a folder with its .debs per architecture."""
    drift: tuple[str, ...]
    """`package=version` of what is not what its lock says."""
    secrets: tuple[str, ...]
    """`id=...,src=...`: the host's certificates, index address and netrc, as far as it has them."""


def request(
    catalogue: Catalogue,
    stage: Stage,
    *,
    images: Sequence[str] = (),
    platforms: Sequence[str] = (),
    bases: str = DEFAULT_BASES,
) -> Request:
    """Check the words of the command line and return what they ask for; no word means every image, this platform.

    Raises:
        UsageError: a word is unknown, or a combination is not in the table; the message names what is.
    """
    if bases not in catalogue.bases:
        what = "bases"
        raise unknown(what, bases, catalogue.bases)
    having = {name: image for name, image in catalogue.images.items() if stage in image.stages and bases in image.bases}
    wanted = f"image with a {stage.value} stage on the {bases} bases"
    if not having:
        message = f"There is no {wanted}.\nThey stand in {IMAGES_FILE}."
        raise UsageError(message)
    for name in images:
        if name not in having:
            raise unknown(wanted, name, having)
    chosen = tuple(having[name] for name in dict.fromkeys(images)) or tuple(having.values())
    return Request(
        catalogue=catalogue,
        stage=stage,
        images=chosen,
        bases=catalogue.bases[bases],
        platforms=_platforms(chosen, platforms),
    )


def _platforms(images: tuple[Image, ...], words: Sequence[str]) -> tuple[Platform, ...]:
    shared = [each for each in Platform if all(each in image.platforms for image in images)]
    return platforms_of(words, shared, of=", ".join(image.name for image in images))


def tag(image: Image, stage: Stage, bases: Bases, platforms: tuple[Platform, ...], version: str) -> str:
    """Return the tag of an image: one of several platforms has none in its name, one of a single platform its own."""
    form = "" if stage in (Stage.BASE, Stage.RUNTIME) else f"-{stage.value}"
    architecture = f"-{platforms[0].arch}" if len(platforms) == 1 else ""
    return f"{image.repository}{form}:{version}-{bases.name}{architecture}"


def plan(
    request: Request, facts: Facts, environment: Mapping[str, str], buildx: tuple[str, ...] = ("docker", "buildx")
) -> Plan:
    """Return the bake document and the command that builds it.

    Args:
        request: what is asked for.
        facts: what the world says.
        environment: what docker needs to find its engine.
        buildx: how buildx is called.
    """
    names = "-".join(image.name for image in request.images)
    architectures = "-".join(platform.arch for platform in request.platforms)
    file = f"bake-{request.stage.value}-{names}-{request.bases.name}-{architectures}.json"
    path = request.catalogue.folder / ".build" / file
    document = Document(path=path, text=json.dumps(bake(request, facts), indent=2, sort_keys=True) + "\n")
    # bake wants to be told which files outside of this folder it may read (buildx 0.18 and newer).
    readable = [f"--allow=fs.read={secret.partition('src=')[2]}" for secret in facts.secrets]
    command = Command(
        argv=(*buildx, "bake", *readable, f"--allow=fs.read={request.catalogue.folder}", "--file", str(path)),
        env=environment,
        hint="The step that failed stands above, with its output. To try again, run the same command.",
    )
    return Plan(documents=(document,), commands=(command,))


def bake(request: Request, facts: Facts) -> dict[str, Any]:
    """Return the bake document (https://docs.docker.com/build/bake/reference/) of a request."""
    steps: dict[str, dict[str, Any]] = {}
    wanted = [_add_image(steps, request, facts, image, request.stage) for image in request.images]
    for name, image in zip(wanted, request.images, strict=True):
        steps[name] |= {
            "labels": labels(request, facts, image),
            "output": ["type=docker"],
            "tags": [tag(image, request.stage, request.bases, request.platforms, facts.version)],
        }
    return {"group": {"default": {"targets": wanted}}, "target": steps}


def _add_image(steps: dict[str, dict[str, Any]], request: Request, facts: Facts, image: Image, stage: Stage) -> str:
    """Add an image and what it stands on; return its target's name."""
    match stage:
        case Stage.BASE:
            return _add_base(steps, request, facts)
        case Stage.RUNTIME:
            contexts = {"os": _add_os(steps, request, facts), "base": _add_base(steps, request, facts)}
            return _add(steps, request, facts, f"{image.name}-runtime", image.name, contexts)
        case Stage.CI:
            runtime = _add_image(steps, request, facts, image, Stage.RUNTIME)
            name = _add(steps, request, facts, f"{image.name}-ci", "ci", {"runtime": runtime})
            steps[name]["args"]["LAYER"] = f"{image.name}-ci"
            return name
        case _:
            message = f"No folder of containers/ builds the {stage.value} stage."
            raise UsageError(message)


def _add_base(steps: dict[str, dict[str, Any]], request: Request, facts: Facts) -> str:
    _add(steps, request, facts, "builder", "builder", {}, root="builder")
    return _add(steps, request, facts, "base", "base", {"builder": "builder"})


def _add_os(steps: dict[str, dict[str, Any]], request: Request, facts: Facts) -> str:
    name = _add(steps, request, facts, "os", "os", {}, root="runtime")
    steps[name]["contexts"]["programs"] = str(facts.programs)
    return name


def _add_os_packages(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: dict[str, dict[str, Any]], request: Request, facts: Facts, name: str, packages: str, below: str
) -> str:
    """Add a target that installs a set of OS packages, in one layer, on the target below."""
    contexts = {"below": f"target:{below}", "debs": str(facts.os_packages[packages])}
    steps[name] = _target(request, facts, "os-packages", contexts)
    steps[name]["platforms"] = [platform.value for platform in request.platforms]
    return name


def _add(  # noqa: PLR0913, PLR0917 - the parts of a target
    steps: dict[str, dict[str, Any]],
    request: Request,
    facts: Facts,
    name: str,
    folder: str,
    below: Mapping[str, str],
    *,
    root: str = "",
) -> str:
    """Add one target; it stands on a root image, or on other targets and the tools."""
    contexts = {context: f"target:{step}" for context, step in below.items()}
    if root:
        contexts |= _roots(request, facts, root, request.platforms)
    else:
        contexts["tools"] = _add_tools(steps, request, facts)
    steps[name] = _target(request, facts, folder, contexts)
    # Every target of the graph names the same platforms: one without any would be built for this machine alone and
    # then be used for all of them.
    steps[name]["platforms"] = [platform.value for platform in request.platforms]
    return name


def _add_tools(steps: dict[str, dict[str, Any]], request: Request, facts: Facts) -> str:
    """Add the builder for the machine that builds, whatever it builds for: hence no platforms, on purpose."""
    steps["tools"] = _target(request, facts, "builder", _roots(request, facts, "builder", (facts.native,)))
    return "target:tools"


def _roots(request: Request, facts: Facts, role: str, platforms: Iterable[Platform]) -> dict[str, str]:
    """Return a context per platform, so that a step is the same one whatever else is built beside it."""
    if role in request.bases.pulled:
        pins = request.catalogue.pins
        return {f"root-{each.arch}": pulled.source(pins, request.bases, role, each) for each in platforms}
    return {f"root-{each.arch}": f"oci-layout://{facts.layout}@{facts.roots[role, each]}" for each in platforms}


def _target(request: Request, facts: Facts, folder: str, contexts: Mapping[str, str]) -> dict[str, Any]:
    checkout, bases = request.catalogue.folder, request.bases
    return {
        "args": {
            "BASES": bases.name,
            "GLIBC": bases.glibc,
            "OLDEST_GLIBC": request.catalogue.oldest_glibc,
            "PYTHON": bases.interpreter_of("builder" if folder in BUILDER_STEPS else "runtime"),
            "PYTHON_VERSION": bases.python,
            "SOURCE_DATE_EPOCH": str(request.catalogue.pins.epoch),
        },
        # It holds build times, and so would give every build another digest; releases ask for it.
        "attest": ["type=provenance,disabled=true"],
        "context": str(checkout / "containers" / folder),
        "contexts": {
            "bin": str(checkout / "containers" / "bin"),
            "constraints": str(checkout / "constraints"),
            **contexts,
        },
        "secret": list(facts.secrets),
    }


def labels(request: Request, facts: Facts, image: Image) -> dict[str, str]:
    """Return the labels (https://github.com/opencontainers/image-spec/blob/main/annotations.md) of an image."""
    role = "builder" if request.stage is Stage.BASE else "runtime"
    created = datetime.fromtimestamp(request.catalogue.pins.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    drift = {"ai.dynamo.drift": " ".join(facts.drift)} if facts.drift else {}
    return {
        "ai.dynamo.backend": "none",
        "ai.dynamo.bases": request.bases.name,
        "ai.dynamo.lock": f"sha256:{facts.locks[image.name]}",
        "ai.dynamo.stage": request.stage.value,
        **_base_labels(request, role),
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": image.description,
        "org.opencontainers.image.licenses": request.catalogue.licenses,
        "org.opencontainers.image.revision": facts.revision,
        "org.opencontainers.image.source": request.catalogue.source,
        "org.opencontainers.image.title": image.title,
        "org.opencontainers.image.version": facts.version,
        **drift,
    }


def _base_labels(request: Request, role: str) -> dict[str, str]:
    """Return the labels that name the root image: its readable reference and the digest of its index."""
    pin = request.catalogue.pins.roots[request.bases.name, role]
    root = request.bases.roots[role]
    if isinstance(root, Root):
        name, digest = f"{request.bases.name}-{role}:{root.suite}", pin.index
    elif root.split and len(request.platforms) == 1:
        name, digest = root.reference(request.platforms[0]), pin.platforms[request.platforms[0]]
    else:
        # No digest is over repositories of several platforms, and a label has one value for all of them.
        name, digest = root.image, pin.index
    return {
        f"org.opencontainers.image.base.{key}": value for key, value in (("name", name), ("digest", digest)) if value
    }
