"""Plans of builds with caches, with several builders, or pushed to a registry.

The bake document of the ordinary build is where each of them begins (build.py). A build of this kind has three parts:
each machine builds its share, what it pushes has no tag that anybody pulls, and one command makes the index of all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dynamo_containers.engine.build_refs import EVERYWHERE
from dynamo_containers.errors import UsageError
from dynamo_containers.plan import bake, caches, merged_dockerfile, source_export, source_policy
from dynamo_containers.plan.bake_calls import Call, Machine
from dynamo_containers.plan.builders import DOCKER
from dynamo_containers.plan.caches import Caches
from dynamo_containers.plan.target import dockerfile_folder
from dynamo_containers.process import Command, Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.bake import Facts, Request
    from dynamo_containers.plan.builders import Share
    from dynamo_containers.plan.source_export import Copying

PUSHED = "type=image,push=true,oci-mediatypes=true,compression=zstd,compression-level=1,force-compression=true"
"""The layers of `bake.OUTPUT`, to a registry; only the OCI's manifests know of zstd, so they are of that kind."""
BY_DIGEST = "push-by-digest=true,name-canonical=true"
"""Without any tag; the docker driver has no such push."""
PART = "part"
"""Begins a tag that keeps what was pushed until the index names it; nobody pulls it."""


@dataclass(frozen=True, kw_only=True)
class Wide:
    """What one machine builds, and how."""

    request: Request
    """Its platforms alone."""
    facts: Facts
    share: Share
    caches: Caches = field(default_factory=Caches)
    registry: str = ""
    """Where its images are pushed; '' for the engine's own store."""

    @property
    def joined(self) -> bool:
        """Say whether the steps of an image are one build, so that caches are looked into."""
        return bool(self.caches.read or self.caches.write)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is done for one image on one machine."""

    image: Image
    target: str
    document: Document
    """The bake document of the command."""
    command: Command
    metadata: Path
    """Where buildx says the digest of what it made."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one machine does."""

    name: str
    document: Document
    """The bake document of the ordinary build: what is built, step by step."""
    documents: tuple[Document, ...]
    parts: tuple[Part, ...]
    copying: Copying | None = None
    """What copies sources out first."""


def check(shares: tuple[Share, ...], registry: str) -> None:
    """Refuse what could only end in images of one tag on several machines.

    Raises:
        UsageError: several machines build, and no registry is named in which their images meet.
    """
    if len(shares) < 2 or registry:  # noqa: PLR2004 - one machine
        return
    rows = "\n".join(f"  {', '.join(each.value for each in share.platforms)}: {share.name}" for share in shares)
    message = (
        f"Several machines build this, and their images meet in a registry:\n{rows}\n"
        "Name it: --push HOST[:PORT][/PATH], or build one platform at a time."
    )
    raise UsageError(message)


def work(
    wide: Wide,
    content: dict[str, Any],
    texts: Mapping[str, str],
    environment: Mapping[str, str],
    buildx: tuple[str, ...],
) -> Work:
    """Return what a machine does.

    Args:
        wide: what it builds.
        content: the bake document of the ordinary build of that.
        texts: step -> the text of its Dockerfile.
        environment: what docker needs to find the engine in use.
        buildx: how buildx is called.
    """
    request, facts = wide.request, wide.facts
    path = bake.document_path(request)
    policies, policed = bake.policy(source_policy.policy(request, facts), path)
    variables = {**environment, **(wide.share.builder.variables if wide.share.builder else {}), **policed}
    copying = source_export.copying(request, facts, content, buildx, variables) if wide.joined else None
    documents, parts = [*policies, *([copying.document] if copying else [])], []
    for image in request.images:
        file = path.with_name(f"{path.stem}-wide-{image.name}.json")
        made = tuple(_made(wide, content, image, texts, file, copying))
        documents += made
        command = bake.command_of(request, facts, buildx, file, caches.allowed(wide.caches))
        command = replace(command, env={**variables, **command.env})
        target, metadata = _targets(wide, content)[image.name], bake.metadata(file)
        parts.append(Part(image=image, target=target, document=made[-1], command=command, metadata=metadata))
    return Work(
        name=wide.share.name,
        document=Document(path=path, text=bake.text_of(content)),
        documents=tuple(documents),
        parts=tuple(parts),
        copying=copying,
    )


def _targets(wide: Wide, content: Mapping[str, Any]) -> dict[str, str]:
    """Return image -> its target."""
    names = (image.name for image in wide.request.images)
    return dict(zip(names, content["group"]["default"]["targets"], strict=True))


def _made(  # noqa: PLR0913, PLR0917 - the parts of a document
    wide: Wide,
    content: dict[str, Any],
    image: Image,
    texts: Mapping[str, str],
    file: Path,
    copying: Copying | None,
) -> Iterator[Document]:
    """Return the documents of one image: with caches its steps are one build, so that these are looked into."""
    target = _targets(wide, content)[image.name]
    steps = {"group": {"default": {"targets": [target]}}, "target": content["target"]}
    if wide.joined:
        copies = copying.folders if copying else {}
        one, dockerfile = merged_dockerfile.joined(content, target, texts, wide.facts.native, copies)
        recipe = Document(path=file.with_suffix(".Dockerfile"), text=dockerfile)
        yield recipe
        steps = {**steps, "target": {target: {**one, "dockerfile": str(recipe.path)}}}
        written = {name: cache for name, cache in wide.caches.write.items() if name == image.name}
        steps = caches.added(steps, {image.name: target}, replace(wide.caches, write=written))
    if wide.registry:
        changed = {**steps["target"][target], **_pushed(wide, image)}
        steps = {**steps, "target": {**steps["target"], target: changed}}
    yield Document(path=file, text=bake.text_of(steps))


def _pushed(wide: Wide, image: Image) -> dict[str, list[str]]:
    """Return the keys of a target that is pushed, without a tag where the driver can."""
    request, name = wide.request, f"{wide.registry}/{repository(wide.request, image)}"
    if wide.share.builder and wide.share.builder.driver != DOCKER:
        return {"tags": [], "output": [f"{PUSHED},name={name},{BY_DIGEST}"]}
    architectures = "-".join(platform.arch for platform in request.platforms)
    lock = wide.facts.locks[image.name][:12]
    return {"tags": [f"{name}:{PART}-{request.bases.name}-{architectures}-{lock}"], "output": [PUSHED]}


def repository(request: Request, image: Image) -> str:
    """Return the name of an image without its tag."""
    return bake.tag(image, request.stage, request.bases, request.platforms, "").partition(":")[0]


def made(part: Part, metadata: str) -> Mapping[str, Any]:
    """Return what buildx noted of an image: its digest, and the build."""
    found: Mapping[str, Any] = json.loads(metadata)[part.target]
    return found


def called(wide: Wide, work: Work) -> Machine:
    """Return what a machine is called for, as its report has it."""
    request, content = wide.request, json.loads(work.document.text)
    builder = wide.share.builder
    node = builder.serving(request.platforms[0]) if builder else None
    ends = {part.image.name: json.loads(part.document.text)["target"][part.target] for part in work.parts}
    return Machine(
        targets=content["target"],
        calls=tuple(Call(metadata=part.metadata, wanted=part.target) for part in work.parts),
        request=request,
        tops={part.image.name: part.target for part in work.parts},
        tags={name: next(iter(row["tags"]), f"{wide.registry}, without a tag") for name, row in ends.items()},
        pushed={
            image.name: f"{wide.registry}/{repository(request, image)}" for image in request.images if wide.registry
        },
        name=work.name,
        place=f"{builder.name}/{node.name}" if builder and node else EVERYWHERE,
        variables=builder.variables if builder else {},
        joined=wide.joined,
    )


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """Images that stand in a registry without a tag."""

    request: Request
    """What was asked for, with all its platforms."""
    version: str
    """The version of Dynamo."""
    registry: str
    digests: Mapping[str, tuple[str, ...]]
    """Image -> what each machine pushed."""


def merges(pushed: Pushed, buildx: tuple[str, ...], environment: Mapping[str, str]) -> tuple[Command, ...]:
    """Return the commands that name what was pushed: one index over all platforms of each image, and its tag.

    Args:
        pushed: what was pushed.
        buildx: how buildx is called.
        environment: what docker needs for its credentials.
    """
    commands, request = [], pushed.request
    for image in request.images:
        tag = bake.tag(image, request.stage, request.bases, request.platforms, pushed.version)
        name = f"{pushed.registry}/{repository(request, image)}"
        sources = (f"{name}@{digest}" for digest in pushed.digests[image.name])
        argv = (*buildx, "imagetools", "create", "--tag", f"{pushed.registry}/{tag}", *sources)
        hint = f"Nothing was tagged. What was pushed is at {name}, by its digest: run the same command again."
        commands.append(Command(argv=argv, env=dict(environment), hint=hint))
    return tuple(commands)


def dockerfiles(content: Mapping[str, Any]) -> dict[str, Path]:
    """Return step -> its Dockerfile."""
    return {name: dockerfile_folder(step) / "Dockerfile" for name, step in content["target"].items()}
