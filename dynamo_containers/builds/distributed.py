"""Builds with caches, with several builders, or pushed to a registry."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process, progress
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
    """The caches, builders and registry of a build, from the options and from files of this machine."""

    request: Request
    caches: Caches
    builders: Mapping[str, tuple[Platform, ...]]
    """Builder -> its platforms; '' for the engine in use."""
    registry: str

    @property
    def local_platforms(self) -> tuple[Platform, ...]:
        """Return the platforms that the engine in use builds."""
        return self.builders.get("", ())


def distribution_for(request: Request, options: BuildOptions, variables: Mapping[str, str]) -> Distribution | None:
    """Return the distribution of a request; None for an ordinary build.

    Raises:
        UsageError: an option or a file is wrong.
    """
    write = caches.FROM_FILE if options.cache_to is True else options.cache_to or ""
    selected = caches.caches_for(request, caches.load(variables), options.cache_from, write)
    default = variables.get(user_config.BUILDX_BUILDER, "")
    by_builder = builders.group_platforms(request.platforms, builders.load(variables), default)
    if set(by_builder) == {""} and not (selected.read or selected.write or options.push):
        return None
    return Distribution(request=request, caches=selected, builders=by_builder, registry=options.push)


def build(
    distribution: Distribution, plan: BuildPlan, docker: Docker, record: Recorder, *, dry_run: bool
) -> tuple[NodePlan, ...]:
    """Build one stage; return the plan of each node.

    Raises:
        FatalError: any of the foreseen failures; then no image has a tag in the registry.
    """
    running = _DistributedBuild(distribution, plan, docker, record, dry_run=dry_run)
    nodes = running.nodes()
    with running.explained(nodes):
        node_plans = running.build(nodes, running.plan(nodes))
    if not dry_run:
        for node_plan in node_plans:
            running.report_unwritten_caches(node_plan)
        for document in input_digests.record_documents(plan):
            process.write(document)
    if distribution.registry:
        running.merge(node_plans)
        if not dry_run:
            record.pushed(plan.request, plan.parts[0].inputs.version, distribution.registry)
    return tuple(node_plans)


class _DistributedBuild:
    """One build on one or several nodes."""

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
        """Return the nodes of the build, each with its available caches."""
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
        usable, lines = cache_probe.usable_caches(self._docker_for(node), self._part.request.catalogue.folder, own)
        for line in lines:
            progress.say(line)
        return replace(node, caches=usable)

    def _docker_for(self, node: Node) -> Docker:
        """Return the docker CLI for a node."""
        return replace(self._docker, environment={**self._docker.environment, **node.variables})

    def plan(self, nodes: Sequence[Node]) -> list[NodePlan]:
        """Return the plan of each node, after writing its documents and adding the node to the report."""
        node_plans = [self._node_plan(node) for node in nodes]
        documents = tuple(document for node_plan in node_plans for document in node_plan.documents)
        process.execute(Plan(documents=documents), dry_run=self._dry_run)
        self._record.building(self._docker, node_plans)
        return node_plans

    def _node_plan(self, node: Node) -> NodePlan:
        part = BuildPart(self._request(node), replace(self._part.inputs, native=node.native))
        plan = self._plan if part == self._part else bake.build_plan(part)
        dockerfiles = distributed.dockerfiles(plan.graph.targets)
        texts = {name: file_reader.read_text(file) for name, file in dockerfiles.items()}
        return distributed.node_plan(plan, node, texts, self._docker)

    @contextmanager
    def explained(self, nodes: Sequence[Node]) -> Iterator[None]:
        """Explain a failed build by a builder that stopped answering.

        Raises:
            NoEngineError: a command failed, and a builder no longer answers.
        """
        try:
            yield
        except CommandFailedError as error:
            names = [node.builder.name for node in nodes if node.builder]
            gone = builders.missing_builder(nodes, self._known_builders() if names else {})
            if not gone:
                raise
            message = (
                f"{error}\n{gone} no longer answers. No image got a tag in a registry. The other builders keep their "
                f"results.\nWhen it is back, run the same command again. Check it with: "
                f"docker buildx inspect {names[0]}"
            )
            raise NoEngineError(message) from None

    def build(self, nodes: Sequence[Node], node_plans: list[NodePlan]) -> list[NodePlan]:
        """Build on every node, again without caches if one is at fault; return the plans that were carried out."""
        for node_plan in node_plans:
            self._export_sources(node_plan)
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        try:
            self._run(node_plans)
        except CommandFailedError:
            faults = [cache_probe.reading_fault(self._docker_for(node), node.caches.read, since) for node in nodes]
            if not any(faults):
                raise
            for fault in dict.fromkeys(filter(None, faults)):
                progress.say(f"{fault} The build continues without it.")
            for node in nodes:
                self._remove_tags(node)
            uncached = self.plan([replace(node, caches=replace(node.caches, read=())) for node in nodes])
            self._run(uncached)
            return uncached
        return node_plans

    def _export_sources(self, node_plan: NodePlan) -> None:
        """Export the trees of sources; an earlier export is removed first."""
        export = node_plan.export
        if export is None:
            return
        for folder in () if self._dry_run else export.folders.values():
            shutil.rmtree(folder, ignore_errors=True)
        process.execute(Plan(commands=(export.command,)), dry_run=self._dry_run)

    def _run(self, node_plans: Sequence[NodePlan]) -> None:
        """Build on all nodes at once, image by image; a single node has the terminal for itself."""
        for calls in zip(*(node_plan.calls for node_plan in node_plans), strict=True):
            commands = {node_plan.name: call.command for node_plan, call in zip(node_plans, calls, strict=True)}
            if self._dry_run or len(commands) == 1:
                process.execute(Plan(commands=tuple(commands.values())), dry_run=self._dry_run)
            else:
                process.run_parallel(commands)

    def _remove_tags(self, node: Node) -> None:
        """Remove the tags of incomplete images: the engine tags an image before it has all of its content."""
        if self._registry or not node.is_engine:
            return
        request, docker = self._request(node), self._docker_for(node)
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
            fault = (
                cache_probe.writing_fault(self._docker_for(node_plan.node), reference) if cache and reference else ""
            )
            if cache and fault:
                progress.say(f"The build cache {cache.reference} was not written: {fault}. The image is built.")

    def merge(self, node_plans: Sequence[NodePlan]) -> None:
        """Push one index of the images of all nodes, with its tag."""
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
