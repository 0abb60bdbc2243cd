"""Plan of a build: one bake document for all that was asked for, its source policy, and the command that builds it.

Every image is a target of ONE document, linked by named contexts, so that a shared target is built once and independent
ones in parallel (docs/adr/0002). Targets of two stages that have one name are one target: the stage that is asked for
adds labels, a tag and an output to it. So each image is the one that it would be by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dynamo_containers import state
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.plan import graph, source_policy
from dynamo_containers.plan.labels import labels
from dynamo_containers.plan.target import GraphBuilder
from dynamo_containers.process import Command, Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.request import Part, Request
    from dynamo_containers.plan.target import Targets
    from dynamo_containers.platforms import Platform

NO_PROVENANCE = {"BUILDX_METADATA_PROVENANCE": "disabled"}
"""Of the metadata only the digest is read; the provenance of every target would be asked for one by one."""
DENIED = """
Where it says `denied by policy`, a step uses an image, an address or a repository that is not pinned. Name an image or
a release in containers/images.toml and pin it with: invoke lock. Give an `ADD` of a pinned address its --checksum."""
"""What to do about a source that BuildKit refused."""
FAILED = """\
The step that failed stands above, and on the page of: invoke report
What was done is kept: to go on, run the same command.
To give that up and free its space: invoke clean"""
OUTPUT = "type=docker,compression=zstd,compression-level=1,force-compression=true"
"""Into the engine's own store. zstd takes two thirds of gzip's time, and a vLLM image is an eighth smaller (ADR 9)."""


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """An image that a build makes."""

    image: Image
    request: Request
    """The request that asks for it: a stage of images."""
    target: str
    """The target of the graph that it is."""
    tag: str
    """Its name and tag."""
    repository: str = ""
    """HOST/NAME in the registry that it is pushed to; nothing: it is for the engine's own store."""


@dataclass(frozen=True, kw_only=True)
class BakeGraph:
    """Targets of a bake document, and the images among them."""

    targets: Targets
    images: tuple[PlannedImage, ...]

    def document(self) -> dict[str, Any]:
        """Return the bake document (https://docs.docker.com/build/bake/reference/)."""
        return bake_document([image.target for image in self.images], self.targets)


def bake_document(wanted: Sequence[str], targets: Targets) -> dict[str, Any]:
    """Return the bake document of targets, which builds some of them."""
    rows = {name: target.document() for name, target in targets.items()}
    return {"group": {"default": {"targets": list(wanted)}}, "target": rows}


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What builds the stages of some images: made once per command, and handed on."""

    parts: tuple[Part, ...]
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
            buildx: how buildx is called.
        """
        command = bake_command(self.parts[-1], docker.buildx, self.path)
        return replace(command, env={**docker.environment, **command.env, **policy_variables(self.policy, self.path)})


def tag(image: Image, stage: Stage, bases: Bases, platforms: tuple[Platform, ...], version: str) -> str:
    """Return the tag of an image: one of several platforms has none in its name, one of a single platform its own."""
    form = "" if stage in (Stage.BASE, Stage.RUNTIME) else f"-{stage.value}"
    architecture = f"-{platforms[0].arch}" if len(platforms) == 1 else ""
    return f"{image.repository}{form}:{version}-{bases.name}{architecture}"


def build_plan(*parts: Part) -> BuildPlan:
    """Return the plan of some stages of images, as one graph."""
    return BuildPlan(
        parts=parts,
        graph=_merged([bake_graph(part) for part in parts]),
        policy=source_policy.merge(source_policy.policy(*part) for part in parts),
    )


def bake_graph(part: Part) -> BakeGraph:
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


def _merged(graphs: Sequence[BakeGraph]) -> BakeGraph:
    """Return one graph of several: a target that one of them tags is tagged."""
    targets = dict(graphs[0].targets)
    for other in graphs[1:]:
        for name, target in other.targets.items():
            if target.tags or name not in targets:
                targets[name] = target
    return BakeGraph(targets=targets, images=tuple(image for each in graphs for image in each.images))


def document_path(*requests: Request) -> Path:
    """Return the path of the bake document of requests: two that differ do not overwrite each other's."""
    first = requests[0]
    stages = "-".join(request.stage.value for request in requests)
    names = "-".join(dict.fromkeys(image.name for request in requests for image in request.images))
    architectures = "-".join(platform.arch for platform in first.platforms)
    return first.catalogue.folder / state.bake_document(f"{stages}-{names}-{first.bases.name}-{architectures}")


def render(document: Mapping[str, Any]) -> str:
    """Return a document as it is written."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def bake_command(part: Part, buildx: tuple[str, ...], path: Path, allowed: Iterable[str] = ()) -> Command:
    """Return the command that builds a bake document.

    Args:
        part: what is built.
        buildx: how buildx is called.
        path: the bake document.
        allowed: flags by which more is allowed.
    """
    request, inputs = part
    # bake wants to be told which files outside of this folder it may read (buildx 0.18 and newer).
    readable = [f"--allow=fs.read={secret.partition('src=')[2]}" for secret in inputs.secrets]
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
    """Return the document of a source policy, if it has any rule."""
    text = json.dumps(policy, indent=2) + "\n"
    return (Document(path=state.source_policy(bake_file), text=text),) if policy else ()


def policy_variables(policy: Mapping[str, Any], bake_file: Path) -> dict[str, str]:
    """Return the variable by which buildx finds a source policy, if it has any rule."""
    return {source_policy.VARIABLE: str(state.source_policy(bake_file))} if policy else {}
