"""Builds with caches, with several builders, or pushed to a registry."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import process, progress
from dynamo_containers.builds import cache_probe
from dynamo_containers.engine import bake_metadata
from dynamo_containers.errors import CommandFailedError, NoEngineError
from dynamo_containers.facts import user_config
from dynamo_containers.plan import bake, builders, caches, distributed
from dynamo_containers.plan.distributed import PushedImages
from dynamo_containers.plan.request import BuildPart
from dynamo_containers.platforms import native_platform
from dynamo_containers.prepare import input_digests
from dynamo_containers.process import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.inspect.report.recorder import Recorder
    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.builders import Node
    from dynamo_containers.plan.caches import Caches
    from dynamo_containers.plan.node_plan import NodePlan
    from dynamo_containers.plan.options import BuildOptions
    from dynamo_containers.plan.request import Request
    from dynamo_containers.platforms import Platform


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What the options and this machine's files say of a build that is not an ordinary one."""

    request: Request
    caches: Caches
    builders: Mapping[str, tuple[Platform, ...]]
    """Builder -> what it builds; '' for the engine in use."""
    registry: str

    @property
    def local_platforms(self) -> tuple[Platform, ...]:
        """Return what the engine in use builds."""
        return self.builders.get("", ())


def distribution(request: Request, options: BuildOptions, variables: Mapping[str, str]) -> Distribution | None:
    """Return what options and files of this machine say of a request; None: it is an ordinary build after all.

    Raises:
        UsageError: an option or a file is wrong.
    """
    write = caches.FROM_FILE if options.cache_to is True else options.cache_to or ""
    wanted = caches.caches_for(request, caches.load(variables), options.cache_from, write)
    default = variables.get(user_config.BUILDX_BUILDER, "")
    named = builders.group_platforms(request.platforms, builders.load(variables), default)
    if set(named) == {""} and not (wanted.read or wanted.write or options.push):
        return None
    return Distribution(request=request, caches=wanted, builders=named, registry=options.push)


def build(
    distribution: Distribution, plan: BuildPlan, docker: Docker, record: Recorder, *, dry_run: bool
) -> tuple[NodePlan, ...]:
    """Build one stage; return what each node did.

    Raises:
        FatalError: any of the foreseen failures; then nothing has a tag in the registry.
    """
    work = _Work(distribution, plan, docker, record, dry_run=dry_run)
    nodes = work.nodes()
    with work.watched(nodes):
        node_plans = work.built(nodes, work.planned(nodes))
    if not dry_run:
        for node_plan in node_plans:
            work.report_unwritten_caches(node_plan)
        for document in input_digests.record_documents(plan):
            process.write(document)
    if distribution.registry:
        work.merge(node_plans)
        if not dry_run:
            record.pushed(plan.request, plan.parts[0].inputs.version, distribution.registry)
    return tuple(node_plans)


class _Work:
    """One build: what it is about does not change, so that its steps need not hand it on."""

    def __init__(
        self, distribution: Distribution, plan: BuildPlan, docker: Docker, record: Recorder, *, dry_run: bool
    ) -> None:
        self._caches, self._builders = distribution.caches, distribution.builders
        self._registry = distribution.registry
        self._plan = plan
        self._part = plan.parts[0]
        self._docker = docker
        self._record = record
        self._dry_run = dry_run

    def nodes(self) -> list[Node]:
        """Return the nodes that build, with the caches that answer them."""
        nodes = builders.nodes(self._builders, self._known_builders(), native_platform())
        distributed.check_registry(nodes, self._registry)
        return [self._with_caches(replace(node, registry=self._registry)) for node in nodes]

    def _known_builders(self) -> dict[str, builders.Builder]:
        if set(self._builders) == {""}:
            return {}
        argv = (*self._docker.buildx, *builders.LIST)
        return builders.parse(process.capture(process.Command(argv=argv, env=self._docker.environment)))

    def _request(self, node: Node) -> Request:
        return replace(self._part.request, platforms=node.platforms)

    def _with_caches(self, node: Node) -> Node:
        own = distributed.node_caches(self._caches, self._part.request, self._request(node))
        if self._dry_run or not (own.read or own.write):
            return replace(node, caches=own)
        usable, lines = cache_probe.usable(self._docker_of(node), self._part.request.catalogue.folder, own)
        for line in lines:
            progress.say(line)
        return replace(node, caches=usable)

    def _docker_of(self, node: Node) -> Docker:
        """Return the docker CLI that reaches a node."""
        return replace(self._docker, environment={**self._docker.environment, **node.variables})

    def planned(self, nodes: Sequence[Node]) -> list[NodePlan]:
        """Return what each node does, with its documents written and the nodes in the report."""
        node_plans = [self._node_plan(node) for node in nodes]
        documents = tuple(document for node_plan in node_plans for document in node_plan.documents)
        process.execute(Plan(documents=documents), dry_run=self._dry_run)
        self._record.building(self._docker, node_plans)
        return node_plans

    def _node_plan(self, node: Node) -> NodePlan:
        part = BuildPart(self._request(node), replace(self._part.inputs, native=node.native))
        plan = self._plan if part == self._part else bake.build_plan(part)
        dockerfiles = distributed.dockerfiles(plan.graph.targets)
        texts = {name: file.read_text(encoding="utf-8") for name, file in dockerfiles.items()}
        return distributed.node_plan(plan, node, texts, self._docker)

    @contextmanager
    def watched(self, nodes: Sequence[Node]) -> Iterator[None]:
        """Tell a build that failed from a builder that went away in the middle of it.

        Raises:
            NoEngineError: a command failed, and a builder does not answer any more.
        """
        try:
            yield
        except CommandFailedError as error:
            names = [node.builder.name for node in nodes if node.builder]
            gone = builders.missing_builder(nodes, self._known_builders() if names else {})
            if not gone:
                raise
            message = (
                f"{error}\n{gone} does not answer any more. Nothing got a tag in a registry, and what the others built "
                f"is kept.\nWhen it is back, run the same command again. Look at it with: "
                f"docker buildx inspect {names[0]}"
            )
            raise NoEngineError(message) from None

    def built(self, nodes: Sequence[Node], node_plans: list[NodePlan]) -> list[NodePlan]:
        """Let every node build; return what was done: something else where a cache was at fault."""
        for node_plan in node_plans:
            self._export_sources(node_plan)
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        try:
            self._at_once(node_plans)
        except CommandFailedError:
            faults = [cache_probe.reading_fault(self._docker_of(node), node.caches.read, since) for node in nodes]
            if not any(faults):
                raise
            for fault in dict.fromkeys(filter(None, faults)):
                progress.say(f"{fault} The build goes on without it.")
            for node in nodes:
                self._remove_tags(node)
            again = self.planned([replace(node, caches=replace(node.caches, read=())) for node in nodes])
            self._at_once(again)
            return again
        return node_plans

    def _export_sources(self, node_plan: NodePlan) -> None:
        """Copy the trees of sources out; an earlier copy is removed first."""
        export = node_plan.export
        if export is None:
            return
        for folder in () if self._dry_run else export.folders.values():
            shutil.rmtree(folder, ignore_errors=True)
        process.execute(Plan(commands=(export.command,)), dry_run=self._dry_run)

    def _at_once(self, node_plans: Sequence[NodePlan]) -> None:
        """Let every node build at the same time, image by image; a single one has the terminal for itself."""
        for calls in zip(*(node_plan.calls for node_plan in node_plans), strict=True):
            commands = {node_plan.name: call.command for node_plan, call in zip(node_plans, calls, strict=True)}
            if self._dry_run or len(commands) == 1:
                process.execute(Plan(commands=tuple(commands.values())), dry_run=self._dry_run)
            else:
                process.run_parallel(commands)

    def _remove_tags(self, node: Node) -> None:
        """Remove the tags of images that came half from a cache: the engine names an image before it has all of it."""
        if self._registry or not node.is_engine:
            return
        request, docker = self._request(node), self._docker_of(node)
        for image in request.images:
            tag = bake.tag(image, request.stage, request.bases, request.platforms, self._part.inputs.version)
            process.query(docker.command("image", "rm", "--force", tag), seconds=60)

    def report_unwritten_caches(self, node_plan: NodePlan) -> None:
        """Print a line for each cache that was not written; a build does not fail for that."""
        assert node_plan.node is not None, "every plan here has a node"  # noqa: S101 - for mypy
        for call in node_plan.calls:
            image = call.images[0]
            cache = node_plan.node.caches.write.get(image.image.name)
            row = bake_metadata.read(call.metadata).get(image.target, {})
            reference = str(row.get(bake_metadata.REFERENCE, ""))
            fault = cache_probe.writing_fault(self._docker_of(node_plan.node), reference) if cache and reference else ""
            if cache and fault:
                progress.say(
                    f"The build cache {cache.reference} was not written: {fault}. The image is built all the same."
                )

    def merge(self, node_plans: Sequence[NodePlan]) -> None:
        """Give what every node pushed one index and its tag, now that all of it is there."""
        request = self._part.request
        digests = {
            image.name: tuple(self._digest(image.name, node_plan) for node_plan in node_plans)
            for image in request.images
        }
        version = self._part.inputs.version
        pushed = PushedImages(request=request, version=version, registry=self._registry, digests=digests)
        commands = distributed.index_commands(pushed, self._docker)
        process.execute(Plan(commands=commands), dry_run=self._dry_run)

    def _digest(self, image: str, node_plan: NodePlan) -> str:
        call = next(call for call in node_plan.calls if call.images[0].image.name == image)
        if self._dry_run:
            return f"(the digest in {call.metadata.name})"
        return bake_metadata.digests(call.metadata)[call.images[0].target]
