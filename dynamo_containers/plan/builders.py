"""Builders: rows and buildx's own list assign platforms to nodes.

A builder is one of `docker buildx ls`: a remote BuildKit, one in Kubernetes, a container, or the engine of a docker
context. A platform with a row is built by its builder and by no other one (docs/how-to/builders.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers.engine.build_refs import EVERY_NODE
from dynamo_containers.errors import NoEngineError, UsageError
from dynamo_containers.facts import user_config
from dynamo_containers.plan.caches import Caches
from dynamo_containers.platforms import Platform
from dynamo_containers.toml_table import any_of, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VARIABLE, USER_FILE = user_config.BUILDERS
DOCKER = "docker"
"""The driver of a builder that is a Docker Engine."""
LIST = ("ls", "--format", "{{json .}}")
"""What buildx is asked: a line of JSON for each builder."""
RUNNING = "running"


@dataclass(frozen=True, kw_only=True)
class BuilderNode:
    """One machine of a builder."""

    name: str
    platforms: tuple[str, ...]
    """What it builds for, its own platform first; none where it does not answer."""
    error: str = ""
    """Why it does not answer."""

    @property
    def native(self) -> str:
        """Return the platform of its own machine ('' for one that does not answer)."""
        return next(iter(self.platforms), "")


@dataclass(frozen=True, kw_only=True)
class Builder:
    """A builder of buildx."""

    name: str
    driver: str
    nodes: tuple[BuilderNode, ...]

    def serving(self, platform: Platform) -> BuilderNode | None:
        """Return the node that buildx takes for a platform: the first that names it."""
        return next((node for node in self.nodes if platform.value in node.platforms), None)

    @property
    def variables(self) -> dict[str, str]:
        """Return what the environment of a docker call must have for it; a Docker Engine is named as a context."""
        if self.driver != DOCKER:
            return {user_config.BUILDX_BUILDER: self.name}
        # Set, DOCKER_HOST would win over the context, and BUILDX_BUILDER be refused.
        return {"DOCKER_CONTEXT": self.name, "DOCKER_HOST": "", user_config.BUILDX_BUILDER: ""}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine that builds: the engine in use, or one of a builder's."""

    builder: Builder | None = None
    """None: the engine in use."""
    platforms: tuple[Platform, ...]
    """What it builds for."""
    native: Platform
    """Its own platform."""
    caches: Caches = field(default_factory=Caches)
    registry: str = ""
    """Where its images are pushed; nothing: they stay in the engine's own store."""

    @property
    def name(self) -> str:
        """Return it as a message names it."""
        return f"the builder {self.builder.name}" if self.builder else "the engine of this machine"

    @property
    def place(self) -> str:
        """Return BUILDER/NODE, as buildx's state has it."""
        node = self.builder.serving(self.platforms[0]) if self.builder else None
        return f"{self.builder.name}/{node.name}" if self.builder and node else EVERY_NODE

    @property
    def variables(self) -> Mapping[str, str]:
        """Return what the environment of a docker call needs to reach it, besides that of the engine in use."""
        return self.builder.variables if self.builder else {}

    @property
    def is_engine(self) -> bool:
        """Return whether it is a Docker Engine, with a store of its own and no push by digest."""
        return self.builder is None or self.builder.driver == DOCKER

    @property
    def merged(self) -> bool:
        """Return whether the targets of an image are one build, so that BuildKit looks into its caches (ADR 21)."""
        return bool(self.caches.read or self.caches.write)


def load(environment: Mapping[str, str]) -> dict[Platform, str]:
    """Return platform -> builder, as this machine's file says; nothing where there is no file.

    Raises:
        UsageError: the file that the variable names is missing, or its content is wrong.
    """
    table = user_config.read(environment, VARIABLE, USER_FILE)
    if table is None:
        return {}
    rows = table.table("builders")
    table.refuse_the_rest()
    known = {platform.value: platform for platform in Platform}
    found = {}
    for word in rows.keys_left():
        if word not in known:
            raise wrong(table.file, f"builders.{word}", "that platform", any_of(known))
        found[known[word]] = rows.string(word)
        if not found[known[word]]:
            raise wrong(table.file, f"builders.{word}", '""', "a builder of `docker buildx ls`")
    return found


def parse(text: str) -> dict[str, Builder]:
    """Read what `docker buildx ls` says: name -> builder."""
    rows = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    return {
        row["Name"]: Builder(name=row["Name"], driver=row["Driver"], nodes=tuple(_nodes(row.get("Nodes") or ())))
        for row in rows
    }


def _nodes(rows: Iterable[Mapping[str, object]]) -> Iterator[BuilderNode]:
    for row in rows:
        platforms = row.get("Platforms")
        named = tuple(map(str, platforms)) if isinstance(platforms, list) else ()
        answers = row.get("Status") == RUNNING
        why = str(row.get("Err") or "") or f"it is {row.get('Status') or 'not there'}"
        yield BuilderNode(name=str(row["Name"]), platforms=named if answers else (), error="" if answers else why)


def group_platforms(
    platforms: tuple[Platform, ...], rows: Mapping[Platform, str], default: str
) -> dict[str, tuple[Platform, ...]]:
    """Return builder -> its platforms, in the order of the platforms; '' is the engine in use.

    Args:
        platforms: what is built.
        rows: platform -> builder.
        default: the builder of the platforms without a row.
    """
    found: dict[str, tuple[Platform, ...]] = {}
    for platform in platforms:
        name = rows.get(platform, default)
        found[name] = (*found.get(name, ()), platform)
    return found


def nodes(
    platforms_of: Mapping[str, tuple[Platform, ...]], builders: Mapping[str, Builder], native: Platform
) -> tuple[Node, ...]:
    """Return who builds what: one node for each machine, so that each has the binaries of its own platform.

    Args:
        platforms_of: builder -> its platforms (`group_platforms`).
        builders: the builders of buildx.
        native: the platform of the engine in use.

    Raises:
        UsageError: a builder is unknown, or would emulate what another one that is named has a machine for.
        NoEngineError: a builder does not answer, or builds for no such platform. Nothing else takes its place.
    """
    machines: dict[tuple[str, Platform], tuple[Platform, ...]] = {}
    for name, platforms in platforms_of.items():
        for platform in platforms:
            machine = native if not name else _machine(_builder(builders, name), platform)
            machines[name, machine] = (*machines.get((name, machine), ()), platform)
    built = [platform for platforms in platforms_of.values() for platform in platforms]
    _refuse_strangers(machines, built, native)
    _refuse_emulation(machines)
    return tuple(
        Node(builder=builders.get(name) if name else None, platforms=platforms, native=machine)
        for (name, machine), platforms in machines.items()
    )


def _builder(known: Mapping[str, Builder], name: str) -> Builder:
    if name in known:
        return known[name]
    message = (
        f'buildx has no builder called "{name}". It has: {", ".join(known) or "none"}.\n'
        f"Make it (docker buildx create, or docker context create for an engine), or edit {USER_FILE}: "
        "docs/how-to/builders.md"
    )
    raise UsageError(message)


def _machine(builder: Builder, platform: Platform) -> Platform:
    """Return the platform of the machine that builds a platform."""
    node = builder.serving(platform)
    if node is None:
        dead = "; ".join(f"{each.name}: {each.error}" for each in builder.nodes if each.error)
        message = (
            f"The builder {builder.name} does not build {platform.value}{f' ({dead})' if dead else ''}. Nothing was "
            "built, and nothing else takes its place.\n"
            f"Look at it with: docker buildx inspect --bootstrap {builder.name}"
        )
        raise NoEngineError(message)
    own = next((each for each in builder.nodes if each.native == platform.value), node)
    if own is not node:
        message = (
            f"buildx would build {platform.value} on {node.name}, emulated, although {own.name} of the same builder is "
            f"such a machine.\nName the platform of each node: docker buildx create --append --name {builder.name} "
            f"--node {own.name} --platform {platform.value}"
        )
        raise UsageError(message)
    return next((each for each in Platform if each.value == node.native), platform)


def _refuse_strangers(made: Iterable[tuple[str, Platform]], platforms: Iterable[Platform], native: Platform) -> None:
    """Refuse a machine that would need programs for a platform that is neither built nor this machine's."""
    for name, machine in made:
        if machine not in (*platforms, native):
            message = (
                f"The builder {name} is a {machine.value} machine, and would emulate all that is built.\n"
                f"Name another one in {USER_FILE}, or build {machine.value} too: docs/how-to/builders.md"
            )
            raise UsageError(message)


def _refuse_emulation(made: Mapping[tuple[str, Platform], tuple[Platform, ...]]) -> None:
    machines = {machine: name for name, machine in made}
    for (name, machine), platforms in made.items():
        for platform in platforms:
            if platform is not machine and platform in machines:
                what, other = (
                    f"builder {each}" if each else "engine of this machine" for each in (name, machines[platform])
                )
                message = (
                    f"The {what} would emulate {platform.value}, and the {other} is such a machine.\n"
                    f'Let that one build it: a row "{platform.value}" in {USER_FILE} (docs/how-to/builders.md)'
                )
                raise UsageError(message)


def missing_builder(nodes: Iterable[Node], builders: Mapping[str, Builder]) -> str:
    """Return the builder that no longer serves its platforms, as a message begins with it; '' if all of them do."""
    for node in nodes:
        current = builders.get(node.builder.name) if node.builder else None
        if node.builder and not (current and all(current.serving(platform) for platform in node.platforms)):
            return f"The builder {node.builder.name}"
    return ""
