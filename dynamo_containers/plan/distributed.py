"""Plans of builds with caches, with several builders, or pushed to a registry.

Each of them starts from the bake document of the ordinary build. Such a build has three parts: each node builds its
platforms, pushes them without a tag that anybody pulls, and one command makes the index of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import state
from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import repository
from dynamo_containers.plan import bake, caches, merged_dockerfile, source_export
from dynamo_containers.plan.caches import cache_name
from dynamo_containers.plan.node_plan import BakeCall, NodePlan
from dynamo_containers.process import Command, Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.bake import BuildPlan, PlannedImage
    from dynamo_containers.plan.builders import Node
    from dynamo_containers.plan.caches import Caches
    from dynamo_containers.plan.request import Request
    from dynamo_containers.plan.source_export import SourceExport
    from dynamo_containers.plan.target import Target, Targets

PUSHED = "type=image,push=true,oci-mediatypes=true,compression=zstd,compression-level=1,force-compression=true"
"""The layers of `bake.OUTPUT`, to a registry. Only manifests of OCI support zstd, so these are used."""
BY_DIGEST = "push-by-digest=true,name-canonical=true"
"""Pushes without a tag; the docker driver cannot."""
PART = "part"
"""Begins a tag that keeps a pushed image until the index names it; nobody pulls that tag."""


def check_registry(nodes: tuple[Node, ...], registry: str) -> None:
    """Check that images of several machines are pushed to a registry: one tag needs all of them.

    Raises:
        UsageError: several machines build, and no registry is named.
    """
    if len(nodes) < 2 or registry:  # noqa: PLR2004 - one machine
        return
    rows = "\n".join(f"  {', '.join(platform.value for platform in node.platforms)}: {node.name}" for node in nodes)
    message = (
        f"Several machines build this, so their images must be pushed to a registry:\n{rows}\n"
        "Name it: --push HOST[:PORT][/PATH], or build one platform at a time."
    )
    raise UsageError(message)


def node_caches(build_caches: Caches, request: Request, node_request: Request) -> Caches:
    """Return the caches of one node; those that it writes are named by its own platforms.

    Args:
        build_caches: the caches of the build.
        request: the request of the build.
        node_request: the part of it that the node builds.
    """
    if request.platforms == node_request.platforms:
        return build_caches
    images = {image.name: image for image in node_request.images}
    write = {
        name: replace(
            cache, name=cache_name(images[name], node_request.stage, node_request.bases, node_request.platforms)
        )
        for name, cache in build_caches.write.items()
    }
    return replace(build_caches, write=write)


def node_plan(
    plan: BuildPlan,
    node: Node,
    texts: Mapping[str, str],
    docker: Docker,
) -> NodePlan:
    """Return the plan of a node.

    Args:
        plan: the ordinary build of its platforms.
        node: the machine that builds.
        texts: target -> the text of its Dockerfile.
        docker: the docker CLI of the engine in use.
    """
    variables = {**docker.environment, **node.variables, **bake.policy_variables(plan.policy, plan.path)}
    export = source_export.source_export(plan, replace(docker, environment=variables)) if node.merged else None
    documents = [*bake.policy_documents(plan.policy, plan.path), *([export.document] if export else [])]
    calls = []
    for planned in plan.graph.images:
        file = state.node_document(plan.path, planned.image.name)
        image, targets, dockerfiles = _targets(plan, node, planned, texts, export)
        document = Document(path=file, text=bake.render(bake.bake_document([image.target], targets)))
        command = bake.bake_command(plan.parts[0], docker.buildx, file, caches.access_flags(node.caches))
        calls.append(
            BakeCall(images=(image,), document=document, command=replace(command, env={**variables, **command.env}))
        )
        documents += [*dockerfiles, document]
    return NodePlan(plan=plan, calls=tuple(calls), documents=tuple(documents), node=node, export=export)


def _targets(
    plan: BuildPlan, node: Node, planned: PlannedImage, texts: Mapping[str, str], export: SourceExport | None
) -> tuple[PlannedImage, Targets, tuple[Document, ...]]:
    """Return an image as a node builds it, its targets, and the Dockerfiles that are generated for them.

    With caches the targets of the image are one build, so that BuildKit reads the caches.
    """
    name, targets = planned.target, plan.graph.targets
    dockerfiles: tuple[Document, ...] = ()
    if node.merged:
        copies = export.folders if export else {}
        top, text = merged_dockerfile.merge(targets, name, texts, plan.parts[0].inputs.native, copies)
        path = state.merged_dockerfile(plan.path, planned.image.name)
        dockerfiles = (Document(path=path, text=text),)
        own = {image: cache for image, cache in node.caches.write.items() if image == planned.image.name}
        targets = {name: replace(top, dockerfile=str(path))}
        targets = caches.with_caches(targets, {planned.image.name: name}, replace(node.caches, write=own))
    if node.registry:
        top = _pushed(plan, node, planned.image, targets[name])
        targets = {**targets, name: top}
        tag = next(iter(top.tags), f"{node.registry}, without a tag")
        planned = replace(
            planned, tag=tag, repository=f"{node.registry}/{repository(planned.image, plan.request.stage)}"
        )
    return planned, targets, dockerfiles


def _pushed(plan: BuildPlan, node: Node, image: Image, target: Target) -> Target:
    """Return a target that is pushed, without a tag where the driver supports that."""
    request, name = plan.request, f"{node.registry}/{repository(image, plan.request.stage)}"
    if not node.is_engine:
        return replace(target, tags=(), outputs=(f"{PUSHED},name={name},{BY_DIGEST}",))
    architectures = "-".join(platform.arch for platform in request.platforms)
    lock = plan.parts[0].inputs.locks[image.name][:12]
    tag = f"{name}:{PART}-{request.bases.name}-{architectures}-{lock}"
    return replace(target, tags=(tag,), outputs=(PUSHED,))


@dataclass(frozen=True, kw_only=True)
class PushedImages:
    """Images that are in a registry without a tag."""

    request: Request
    """The request of the build, with all its platforms."""
    version: str
    """The locked version of Dynamo."""
    registry: str
    digests: Mapping[str, tuple[str, ...]]
    """Image -> the digests that the nodes pushed."""


def index_commands(pushed: PushedImages, docker: Docker) -> tuple[Command, ...]:
    """Return the commands that make one index over all platforms of each image, with its tag.

    Args:
        pushed: the images that were pushed.
        docker: the docker CLI, with its credentials.
    """
    commands, request = [], pushed.request
    for image in request.images:
        tag = bake.tag(image, request.stage, request.bases, request.platforms, pushed.version)
        name = f"{pushed.registry}/{repository(image, request.stage)}"
        sources = (f"{name}@{digest}" for digest in pushed.digests[image.name])
        argv = (*docker.buildx, "imagetools", "create", "--tag", f"{pushed.registry}/{tag}", *sources)
        hint = f"No image was tagged. The pushed images are in {name}, by digest.\nRun the same command again."
        commands.append(Command(argv=argv, env=docker.environment, hint=hint))
    return tuple(commands)


def dockerfiles(targets: Targets) -> dict[str, Path]:
    """Return target -> its Dockerfile."""
    return {name: target.folder / "Dockerfile" for name, target in targets.items()}
