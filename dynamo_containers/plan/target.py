"""Targets of a bake document, and the builder of their graph.

https://docs.docker.com/build/bake/reference/. Each folder of containers/ is one kind of target.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dynamo_containers.facts import image_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.plan.request import BuildInputs, Request
    from dynamo_containers.platforms import Platform

LINK = "target:"
"""Begins a context that is another target of the document."""
BUILDER_FOLDERS = ("builder", "base", "fetched", "compile-tools")
"""The folders of containers/ whose targets use the Python of the builder's root image."""
INSTALL_FOLDERS = ("base", "fetched", "packages", "wheels", "dynamo")
"""The folders of containers/ whose targets use the tools of the builder, on the machine that builds."""
NO_PROVENANCE = "type=provenance,disabled=true"
"""Provenance holds build times, and so would give every build another digest; releases ask for it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target of a bake document."""

    context: str
    """The folder or git commit that the build reads."""
    args: Mapping[str, str]
    contexts: Mapping[str, str]
    """Named contexts: folders, OCI layouts, images, and other targets (`target:NAME`)."""
    secrets: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    """Empty: the platform of the machine that builds."""
    dockerfile: str = ""
    """'' for `Dockerfile` in the context."""
    labels: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    stage: str = ""
    """The stage of the Dockerfile that is built; '' for the last one."""

    @property
    def folder(self) -> Path:
        """Return the folder of its Dockerfile; the build context may be a checkout or a commit."""
        return Path(self.dockerfile or f"{self.context}/Dockerfile").parent

    @property
    def links(self) -> tuple[str, ...]:
        """Return the targets that it is based on or reads from."""
        contexts = self.contexts.values()
        return tuple(dict.fromkeys(context.removeprefix(LINK) for context in contexts if context.startswith(LINK)))

    def document(self) -> dict[str, Any]:
        """Return its entry of a bake document; a key without a value is left out."""
        optional = {
            "cache-from": list(self.cache_from),
            "cache-to": list(self.cache_to),
            "dockerfile": self.dockerfile,
            "labels": dict(self.labels),
            "output": list(self.outputs),
            "platforms": list(self.platforms),
            "tags": list(self.tags),
            "target": self.stage,
        }
        return {
            "args": dict(self.args),
            "attest": [NO_PROVENANCE],
            "context": self.context,
            "contexts": dict(self.contexts),
            "secret": list(self.secrets),
            **{key: value for key, value in optional.items() if value},
        }


Targets: TypeAlias = "Mapping[str, Target]"
"""Name -> target."""


def build_order(targets: Targets, name: str) -> tuple[str, ...]:
    """Return a target and those that it is based on, lower ones first."""
    order: dict[str, None] = {}
    for link in targets[name].links:
        order |= dict.fromkeys(build_order(targets, link))
    return (*order, name)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a target, besides its links and those of every target."""

    args: Mapping[str, str] = field(default_factory=dict)
    """Build arguments."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Named contexts that are not targets."""
    root: str = ""
    """The role of the root image that it is based on: `builder`, `runtime`, `devel`."""
    source: str = ""
    """The build context; '' for the folder of its Dockerfile."""


NO_SETTINGS = Settings()


class GraphBuilder:
    """Builder of the graph of a request; a target that is added twice is the same one."""

    def __init__(self, request: Request, inputs: BuildInputs) -> None:
        """Begin without targets."""
        self.request = request
        self.inputs = inputs
        self.targets: dict[str, Target] = {}

    def add(self, name: str, folder: str, links: Mapping[str, str], settings: Settings = NO_SETTINGS) -> str:
        """Add one target; return its name.

        Args:
            name: its name.
            folder: the folder of containers/ that has its Dockerfile.
            links: named context -> its target.
            settings: its other settings.
        """
        linked = {context: f"{LINK}{target}" for context, target in links.items()}
        if settings.root:
            linked |= self._add_root(settings.root)
        if folder in INSTALL_FOLDERS:
            linked["tools"] = self._add_tools()
        # Every target of the graph names the same platforms: one without platforms would be built for this machine, and
        # then be used for all platforms.
        platforms = tuple(platform.value for platform in self.request.platforms)
        self.targets[name] = replace(
            self._target(folder, {**linked, **settings.contexts}, settings), platforms=platforms
        )
        return name

    def add_os_packages(self, name: str, package_set: str, parent: str) -> str:
        """Add a layer of OS packages on a target; return its name."""
        bases = self.request.bases
        rpms = package_set in bases.packages and bases.packages[package_set].root in bases.repositories
        folder, context = ("os-rpms", "rpms") if rpms else ("os-packages", "debs")
        contexts = {context: str(self.inputs.os_packages[package_set])}
        return self.add(name, folder, {"below": parent}, Settings(contexts=contexts))

    def _add_root(self, role: str) -> dict[str, str]:
        """Return the contexts of a root image; packages that extend it are added to the graph."""
        roots = self._roots(role, self.request.platforms)
        if role not in self.request.bases.extended_roots:
            return roots
        parent = self.add(f"root-{role}", "root", {}, Settings(contexts=roots))
        extended = self.add_os_packages(f"{parent}-packages", role, parent)
        return {f"root-{platform.arch}": f"{LINK}{extended}" for platform in self.request.platforms}

    def _add_tools(self) -> str:
        """Add the builder image for the machine that builds; it has no platforms, so that it is never emulated."""
        self.targets["tools"] = self._target("builder", self._roots("builder", (self.inputs.native,)))
        return f"{LINK}tools"

    def _roots(self, role: str, platforms: Iterable[Platform]) -> dict[str, str]:
        """Return a context per platform, so that a target is the same for any other platforms of the build."""
        bases, inputs, pins = self.request.bases, self.inputs, self.request.catalogue.pins
        if role in bases.registry_roots:
            contexts = {platform: image_reference.root_context(pins, bases, role, platform) for platform in platforms}
        else:
            contexts = {
                platform: f"oci-layout://{inputs.layout}@{inputs.roots[role, platform]}" for platform in platforms
            }
        return {f"root-{platform.arch}": context for platform, context in contexts.items()}

    def _target(self, folder: str, contexts: Mapping[str, str], settings: Settings = NO_SETTINGS) -> Target:
        catalogue, bases = self.request.catalogue, self.request.bases
        path = str(catalogue.folder / "containers" / folder)
        return Target(
            args={
                "BASES": bases.name,
                "GLIBC": bases.glibc,
                "OLDEST_GLIBC": catalogue.oldest_glibc,
                "PYTHON": bases.interpreter_of("builder" if folder in BUILDER_FOLDERS else "runtime"),
                "PYTHON_VERSION": bases.python,
                "SOURCE_DATE_EPOCH": str(catalogue.pins.epoch),
                **settings.args,
            },
            context=settings.source or path,
            dockerfile=f"{path}/Dockerfile" if settings.source else "",
            contexts={
                "bin": str(catalogue.folder / "containers" / "bin"),
                "constraints": str(catalogue.folder / "constraints"),
                **contexts,
            },
            secrets=self.inputs.secrets,
        )
