"""Plan of a build: one bake document for all requests, its source policy, and the command that builds it.

Every image is a target of ONE document, linked by named contexts, so that a shared target is built once and independent
ones in parallel (docs/adr/0002). Targets of two stages with the same name are one target: the request for a stage adds
labels, a tag and an output to it. So each image is the same as in a build of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dynamo_containers import spelling, state
from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import repository
from dynamo_containers.plan import graph, source_policy
from dynamo_containers.plan.labels import labels
from dynamo_containers.plan.target import GraphBuilder
from dynamo_containers.process import Command, Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Image, Stage
    from dynamo_containers.plan.request import BuildPart, Request
    from dynamo_containers.plan.target import Targets
    from dynamo_containers.platforms import Platform

NO_PROVENANCE = {"BUILDX_METADATA_PROVENANCE": "disabled"}
"""Only the digest of the metadata is read; buildx would query the provenance of every target one by one."""
DENIED = """
Where it says `denied by policy`, a step uses an image, an address or a repository that is not pinned. Name an image or
a release in containers/images.toml and pin it with: invoke lock. Give an `ADD` of a pinned address its --checksum."""
"""The remedy for a source that BuildKit refused."""
FAILED = """\
The step that failed is above, and on the page of: invoke report
Finished steps are kept. To continue, run the same command.
To delete them and free their space: invoke clean"""
OUTPUT = "type=docker,compression=zstd,compression-level=1,force-compression=true"
"""Into the engine's own store. zstd takes two thirds of gzip's time, and a vLLM image is an eighth smaller (ADR 9)."""


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """An image that a build makes."""

    image: Image
    request: Request
    """The request that it belongs to, for one stage of images."""
    target: str
    """Its target of the graph."""
    tag: str
    """Its name and tag."""
    repository: str = ""
    """HOST/NAME in the registry that it is pushed to; '' for the engine's store."""


@dataclass(frozen=True, kw_only=True)
class BakeGraph:
    """Targets of a bake document, and the images among them."""

    targets: Targets
    images: tuple[PlannedImage, ...]

    def document(self) -> dict[str, Any]:
        """Return the bake document (https://docs.docker.com/build/bake/reference/)."""
        return bake_document([image.target for image in self.images], self.targets)


def bake_document(names: Sequence[str], targets: Targets) -> dict[str, Any]:
    """Return the bake document of targets; it builds those of these names."""
    rows = {name: target.document() for name, target in targets.items()}
    return {"group": {"default": {"targets": list(names)}}, "target": rows}


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """Plan of the stages of images, made once per command."""

    parts: tuple[BuildPart, ...]
    """The stages, lower ones first; they differ in their stages and images alone."""
    graph: BakeGraph
    policy: Mapping[str, Any]
    """BuildKit's source policy; empty where everything is allowed and nothing is replaced."""

    @property
    def request(self) -> Request:
        """Return one of the requests; their bases, platforms, sources and checkout are the same."""
        return self.parts[0].request

    @property
    def path(self) -> Path:
        """Return the path of the bake document."""
        return document_path(*(part.request for part in self.parts))

    @property
    def tags(self) -> frozenset[str]:
        """Return the tags of the images."""
        return frozenset(image.tag for image in self.graph.images)

    @cached_property
    def document(self) -> Document:
        """Return the bake document."""
        return Document(path=self.path, text=render(self.graph.document()))

    @property
    def documents(self) -> tuple[Document, ...]:
        """Return the bake document, and the source policy where there is one."""
        return (self.document, *policy_documents(self.policy, self.path))

    def command(self, docker: Docker) -> Command:
        """Return the command that builds it.

        Args:
            docker: the docker CLI of the engine in use.
        """
        command = bake_command(self.parts[-1], docker.buildx, self.path)
        return replace(command, env={**docker.environment, **command.env, **policy_variables(self.policy, self.path)})


def tag(image: Image, stage: Stage, bases: Bases, platforms: tuple[Platform, ...], version: str) -> str:
    """Return the tag of an image; it names the architecture of an image for a single platform.

    Raises:
        LockError: the locked version cannot be in a tag.
    """
    architecture = f"-{platforms[0].arch}" if len(platforms) == 1 else ""
    text = f"{spelling.tag_version(version)}-{bases.name}{architecture}"
    if len(text) > spelling.TAG_LENGTH:
        problem = f"The tag {text} has {len(text)} characters; {spelling.TAG_LENGTH} are allowed"
        message = f"{problem}.\nChoose a release with a shorter version: requirements/base.in"
        raise LockError(message)
    return f"{repository(image, stage)}:{text}"


def build_plan(*parts: BuildPart) -> BuildPlan:
    """Return the plan of stages of images, as one graph."""
    return BuildPlan(
        parts=parts,
        graph=_merge_graphs([bake_graph(part) for part in parts]),
        policy=source_policy.merge(source_policy.policy(*part) for part in parts),
    )


def bake_graph(part: BuildPart) -> BakeGraph:
    """Return the graph of one stage of images."""
    request, inputs = part
    builder = GraphBuilder(request, inputs)
    names = [graph.add_image(builder, image, request.stage) for image in request.images]
    images = tuple(
        PlannedImage(
            image=image,
            request=request,
            target=name,
            tag=tag(image, request.stage, request.bases, request.platforms, inputs.version),
        )
        for name, image in zip(names, request.images, strict=True)
    )
    for image in images:
        builder.targets[image.target] = replace(
            builder.targets[image.target],
            labels=labels(request, inputs, image.image),
            outputs=(OUTPUT,),
            tags=(image.tag,),
        )
    return BakeGraph(targets=builder.targets, images=images)


def _merge_graphs(graphs: Sequence[BakeGraph]) -> BakeGraph:
    """Merge graphs; a target that has a tag in one of them keeps it."""
    targets = dict(graphs[0].targets)
    for other in graphs[1:]:
        for name, target in other.targets.items():
            if target.tags or name not in targets:
                targets[name] = target
    return BakeGraph(targets=targets, images=tuple(image for bake_graph in graphs for image in bake_graph.images))


def document_path(*requests: Request) -> Path:
    """Return the path of the bake document of requests; other requests have another path."""
    first = requests[0]
    stages = "-".join(request.stage.value for request in requests)
    names = "-".join(dict.fromkeys(image.name for request in requests for image in request.images))
    architectures = "-".join(platform.arch for platform in first.platforms)
    return first.catalogue.folder / state.bake_document(f"{stages}-{names}-{first.bases.name}-{architectures}")


def render(document: Mapping[str, Any]) -> str:
    """Return the text of a bake document, in which every string is a template for bake."""
    return json.dumps(_as_templates(document), indent=2, sort_keys=True) + "\n"


def _as_templates(node: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(node, str):
        return spelling.template(node)
    if isinstance(node, dict):
        return {spelling.template(name): _as_templates(value) for name, value in node.items()}
    return [_as_templates(item) for item in node] if isinstance(node, list) else node


def bake_command(part: BuildPart, buildx: tuple[str, ...], path: Path, allowed: Iterable[str] = ()) -> Command:
    """Return the command that builds a bake document.

    Args:
        part: the stage that is built.
        buildx: the arguments that call buildx.
        path: the bake document.
        allowed: flags that grant more access.
    """
    request, inputs = part
    # bake asks for permission to read files outside of this folder (buildx 0.18 and newer).
    readable = [f"--allow=fs.read={spelling.attribute(secret, 'src')}" for secret in inputs.secrets]
    return Command(
        argv=(
            *buildx,
            "bake",
            *readable,
            f"--allow=fs.read={request.catalogue.folder}",
            *(f"--allow=fs.read={source.context}" for source in inputs.sources.values() if source.local),
            *allowed,
            f"--metadata-file={state.metadata(path)}",
            "--file",
            str(path),
        ),
        env=NO_PROVENANCE,
        hint=FAILED + (DENIED if request.bases.strict else ""),
    )


def policy_documents(policy: Mapping[str, Any], bake_file: Path) -> tuple[Document, ...]:
    """Return the document of a source policy, if it has rules."""
    text = json.dumps(policy, indent=2) + "\n"
    return (Document(path=state.source_policy(bake_file), text=text),) if policy else ()


def policy_variables(policy: Mapping[str, Any], bake_file: Path) -> dict[str, str]:
    """Return the variable that names a source policy to buildx, if it has rules."""
    return {source_policy.VARIABLE: str(state.source_policy(bake_file))} if policy else {}
