"""Builders, and the assignment of platforms to their nodes.

`docker buildx ls` lists the builders: a remote BuildKit, one in Kubernetes, a container, or the engine of a docker
context. A platform with a row is built by its builder and by no other one (docs/how-to/builders.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers import file_reader
from dynamo_containers.engine.build_refs import EVERY_NODE
from dynamo_containers.errors import NoEngineError, UsageError, unknown_name
from dynamo_containers.facts import user_config
from dynamo_containers.plan.caches import Caches
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VARIABLE, USER_FILE = user_config.BUILDERS
DOCKER = "docker"
"""The driver of a builder that is a Docker Engine."""
LIST = ("ls", "--format", "{{json .}}")
"""The arguments of buildx: they print a line of JSON for each builder."""
RUNNING = "running"


@dataclass(frozen=True, kw_only=True)
class BuilderNode:
    """One machine of a builder."""

    name: str
    platforms: tuple[str, ...]
    """The platforms that it builds, its own first; none if it is unreachable."""
    error: str = ""
    """Why it is unreachable."""

    @property
    def native(self) -> str:
        """Return the platform of its machine ('' if it is unreachable)."""
        return next(iter(self.platforms), "")


@dataclass(frozen=True, kw_only=True)
class Builder:
    """A builder of buildx."""

    name: str
    driver: str
    nodes: tuple[BuilderNode, ...]

    def serving(self, platform: Platform) -> BuilderNode | None:
        """Return the node that buildx uses for a platform: the first that names it."""
        return next((node for node in self.nodes if platform.value in node.platforms), None)

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables that select it; a Docker Engine is selected as a context."""
        if self.driver != DOCKER:
            return {user_config.BUILDX_BUILDER: self.name}
        # DOCKER_HOST would override the context, and buildx would refuse BUILDX_BUILDER.
        return {"DOCKER_CONTEXT": self.name, "DOCKER_HOST": "", user_config.BUILDX_BUILDER: ""}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine that builds: the engine in use, or one of a builder's."""

    builder: Builder | None = None
    """None: the engine in use."""
    platforms: tuple[Platform, ...]
    """The platforms that it builds."""
    native: Platform
    """The platform of the machine."""
    caches: Caches = field(default_factory=Caches)
    registry: str = ""
    """The registry that its images are pushed to; '' keeps them in the engine's store."""

    @property
    def name(self) -> str:
        """Return its name in messages."""
        return f"the builder {self.builder.name}" if self.builder else "the engine of this machine"

    @property
    def place(self) -> str:
        """Return BUILDER/NODE, its name in the state of buildx."""
        node = self.builder.serving(self.platforms[0]) if self.builder else None
        return f"{self.builder.name}/{node.name}" if self.builder and node else EVERY_NODE

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the environment variables that select it, besides those of the engine in use."""
        return self.builder.variables if self.builder else {}

    @property
    def is_engine(self) -> bool:
        """Return whether it is a Docker Engine: it has an image store, and cannot push by digest."""
        return self.builder is None or self.builder.driver == DOCKER

    @property
    def merged(self) -> bool:
        """Return whether the targets of an image are one build, so that BuildKit reads its caches (ADR 21)."""
        return bool(self.caches.read or self.caches.write)


def load(environment: Mapping[str, str]) -> dict[Platform, str]:
    """Read the file of this machine: platform -> builder; empty without a file.

    Raises:
        UsageError: the file that the variable names is missing, or its content is wrong.
    """
    table = user_config.read(environment, VARIABLE, USER_FILE)
    if table is None:
        return {}
    rows = table.table("builders")
    table.refuse_the_rest()
    platforms = {platform.value: platform for platform in Platform}
    return {platforms[name]: rows.string(name) for name in rows.keys_left()}


def parse(text: str) -> dict[str, Builder]:
    """Parse the output of `docker buildx ls`: name -> builder."""
    rows = (file_reader.parse_json(line) for line in text.splitlines() if line.startswith("{"))
    return {
        row["Name"]: Builder(name=row["Name"], driver=row["Driver"], nodes=tuple(_nodes(row.get("Nodes") or ())))
        for row in rows
    }


def _nodes(rows: Iterable[Mapping[str, object]]) -> Iterator[BuilderNode]:
    for row in rows:
        platforms = row.get("Platforms")
        names = tuple(map(str, platforms)) if isinstance(platforms, list) else ()
        running = row.get("Status") == RUNNING
        error = str(row.get("Err") or "") or f"it is {row.get('Status') or 'missing'}"
        yield BuilderNode(name=str(row["Name"]), platforms=names if running else (), error="" if running else error)


def group_platforms(
    platforms: tuple[Platform, ...], rows: Mapping[Platform, str], default: str
) -> dict[str, tuple[Platform, ...]]:
    """Return builder -> its platforms, in the order of the platforms; '' is the engine in use.

    Args:
        platforms: the platforms that are built.
        rows: platform -> builder.
        default: the builder of the platforms without a row.
    """
    groups: dict[str, tuple[Platform, ...]] = {}
    for platform in platforms:
        name = rows.get(platform, default)
        groups[name] = (*groups.get(name, ()), platform)
    return groups


def nodes(
    platforms_of: Mapping[str, tuple[Platform, ...]], builders: Mapping[str, Builder], native: Platform
) -> tuple[Node, ...]:
    """Return the nodes that build: one for each machine, so that each uses the binaries of its own platform.

    Args:
        platforms_of: builder -> its platforms (`group_platforms`).
        builders: the builders of buildx.
        native: the platform of the engine in use.

    Raises:
        UsageError: a builder is unknown, or would emulate a platform that another of these builders has natively.
        NoEngineError: a builder is unreachable, or does not build its platform. No other builder replaces it.
    """
    machines: dict[tuple[str, Platform], tuple[Platform, ...]] = {}
    for name, platforms in platforms_of.items():
        for platform in platforms:
            machine = native if not name else _machine(_builder(builders, name), platform)
            machines[name, machine] = (*machines.get((name, machine), ()), platform)
    built = [platform for platforms in platforms_of.values() for platform in platforms]
    _refuse_foreign_machines(machines, built, native)
    _refuse_emulation(machines)
    return tuple(
        Node(builder=builders.get(name) if name else None, platforms=platforms, native=machine)
        for (name, machine), platforms in machines.items()
    )


def _builder(builders: Mapping[str, Builder], name: str) -> Builder:
    if name in builders:
        return builders[name]
    kind = "builder of buildx"
    hint = (
        f"Create it (docker buildx create, or docker context create for an engine), or edit {USER_FILE}: "
        "docs/how-to/builders.md"
    )
    raise unknown_name(kind, name, builders, hint)


def _machine(builder: Builder, platform: Platform) -> Platform:
    """Return the platform of the machine that builds a platform."""
    node = builder.serving(platform)
    if node is None:
        errors = "; ".join(f"{candidate.name}: {candidate.error}" for candidate in builder.nodes if candidate.error)
        message = (
            f"The builder {builder.name} does not build {platform.value}{f' ({errors})' if errors else ''}. No image "
            "was built, and no other builder is used instead.\n"
            f"Inspect it: docker buildx inspect --bootstrap {builder.name}"
        )
        raise NoEngineError(message)
    own = next((candidate for candidate in builder.nodes if candidate.native == platform.value), node)
    if own is not node:
        message = (
            f"buildx would emulate {platform.value} on {node.name}, although {own.name} of the same builder is a "
            f"{platform.value} machine.\nName the platform of each node: docker buildx create --append "
            f"--name {builder.name} --node {own.name} --platform {platform.value}"
        )
        raise UsageError(message)
    return next((own_platform for own_platform in Platform if own_platform.value == node.native), platform)


def _refuse_foreign_machines(
    machines: Iterable[tuple[str, Platform]], platforms: Iterable[Platform], native: Platform
) -> None:
    """Refuse a machine that would need binaries for a platform that is neither built nor this machine's."""
    for name, machine in machines:
        if machine not in (*platforms, native):
            message = (
                f"The builder {name} is a {machine.value} machine, so it would emulate every platform of this build.\n"
                f"Name another builder in {USER_FILE}, or build {machine.value} too: docs/how-to/builders.md"
            )
            raise UsageError(message)


def _refuse_emulation(machines: Mapping[tuple[str, Platform], tuple[Platform, ...]]) -> None:
    """Refuse a builder that would emulate the platform of another one of this build."""
    builder_of = {machine: name for name, machine in machines}
    for (name, machine), platforms in machines.items():
        for platform in platforms:
            if platform is not machine and platform in builder_of:
                message = (
                    f"The {_described(name)} would emulate {platform.value}, although the "
                    f"{_described(builder_of[platform])} is a {platform.value} machine.\n"
                    f'Assign the platform to that one: "{platform.value}" in {USER_FILE} (docs/how-to/builders.md)'
                )
                raise UsageError(message)


def _described(builder: str) -> str:
    return f"builder {builder}" if builder else "engine of this machine"


def missing_builder(nodes: Iterable[Node], builders: Mapping[str, Builder]) -> str:
    """Return the builder that no longer serves its platforms, as a message names it; '' if all of them do."""
    for node in nodes:
        current = builders.get(node.builder.name) if node.builder else None
        if node.builder and not (current and all(current.serving(platform) for platform in node.platforms)):
            return f"The builder {node.builder.name}"
    return ""
