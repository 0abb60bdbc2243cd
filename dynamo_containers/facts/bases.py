"""Types of the rows `bases.*` and `sources.*` of containers/images.toml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.apt_archive import Archive
    from dynamo_containers.facts.rpm_repositories import Repositories
    from dynamo_containers.platforms import Platform


BUILDER = "builder"
"""The role of the root image that wheels are fetched and installed on."""


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root image that mmdebstrap makes: a Debian suite and the packages it gets beyond the minimum."""

    suite: str
    packages: tuple[str, ...]
    interpreter: str = ""
    """Its Python, where that is not the one of its bases."""
    glibc: str = ""
    """Its glibc, where that is not the one of its bases."""


@dataclass(frozen=True, kw_only=True)
class RegistryRoot:
    """A root image that stands in a registry."""

    image: str
    """Its readable reference, with {machine} (`x86_64`) where each platform has a repository of its own."""
    suite: str = ""
    """The suite of its bases' archive that it is made of ('' where nothing is installed on it)."""
    packages: tuple[str, ...] = ()
    """What whatever stands on it needs and it may lack: installed before anything else."""
    repositories: Repositories | None = None
    """Where the RPMs of sets on it come from (None: it is of .debs, or nothing is installed on it)."""
    interpreter: str = ""
    """Its Python, where that is not the one of its bases."""
    glibc: str = ""
    """Its glibc, where that is not the one of its bases."""

    @property
    def split(self) -> bool:
        """Say whether each platform has a repository of its own, and so no index is over them."""
        return "{machine}" in self.image

    def reference(self, platform: Platform) -> str:
        """Return the readable reference for a platform."""
        return self.image.replace("{machine}", platform.machine)


@dataclass(frozen=True, kw_only=True)
class PackageSet:
    """OS packages that are installed, in one layer, on what stands on a root image."""

    root: str
    """The role of that root image. Packages that it has already are not in the lock of the set."""
    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that is no Python package: the package it comes from and which of its files go where."""

    suite: str
    package: str
    files: Mapping[str, str]

    def members(self, platform: Platform) -> Mapping[str, str]:  # noqa: ARG002 - as a release archive is asked
        """Return which files of the package for a platform go where."""
        return self.files


@dataclass(frozen=True, kw_only=True)
class Release:
    """A program out of a release archive (.tar.gz): where that is and which of its files go where."""

    url: str
    version: str
    files: Mapping[str, str]
    installer: str = ""
    """The script in the archive that lays all of it out; '' where `files` says what is taken."""

    def address(self, platform: Platform) -> str:
        """Return where the archive for a platform is."""
        return self._filled(self.url, platform)

    def members(self, platform: Platform) -> Mapping[str, str]:
        """Return which files of the archive for a platform go where."""
        return {self._filled(source, platform): target for source, target in self.files.items()}

    def installer_of(self, platform: Platform) -> str:
        """Return the script in the archive for a platform."""
        return self._filled(self.installer, platform)

    def _filled(self, text: str, platform: Platform) -> str:
        words = {"{version}": self.version, "{arch}": platform.arch, "{machine}": platform.machine}
        for word, value in words.items():
            text = text.replace(word, value)
        return text


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """Source code that something is built from: a repository, and a tag or branch of it."""

    git: str
    ref: str
    build: str = ""
    """What wheels are built from, as on the command line (`source_builds.chosen`); '' for not at all."""


@dataclass(frozen=True, kw_only=True)
class DebSources:
    """Where locked .debs may be fetched from before the host's mirror is asked ('' for nowhere)."""

    pool: str = ""
    """A folder (below the checkout unless absolute) or URL: files by archive and path, or below sha256/."""
    snapshot: str = ""
    """A URL with {timestamp}, and {archive} where it differs."""


@dataclass(frozen=True, kw_only=True)
class Bases:
    """A set of root images that the whole graph can stand on."""

    name: str
    description: str
    strict: bool
    python: str
    interpreter: str
    glibc: str
    cuda: str = ""
    """The CUDA major whose libraries a process can load there, '13' ('' where that does not matter)."""
    roots: Mapping[str, Root | RegistryRoot]
    programs: Mapping[str, Program | Release]
    packages: Mapping[str, PackageSet] = field(default_factory=dict)
    toolchains: Mapping[str, Release] = field(default_factory=dict)
    """Set of OS packages -> the compiler that goes on top of it, where the distribution's is too old."""
    archive: Archive | None = None
    """Where packages come from that go on root images of registries."""
    deb_sources: DebSources = DebSources()

    @property
    def bootstrapped(self) -> dict[str, Root]:
        """Return the root images that are made from packages."""
        return {role: root for role, root in self.roots.items() if isinstance(root, Root)}

    @property
    def pulled(self) -> dict[str, RegistryRoot]:
        """Return the root images that registries have."""
        return {role: root for role, root in self.roots.items() if isinstance(root, RegistryRoot)}

    @property
    def extended(self) -> dict[str, RegistryRoot]:
        """Return the root images of registries that OS packages are installed on."""
        return {role: root for role, root in self.pulled.items() if root.suite}

    @property
    def packaged(self) -> dict[str, Program]:
        """Return the programs that come out of packages."""
        return {name: program for name, program in self.programs.items() if isinstance(program, Program)}

    @property
    def released(self) -> dict[str, Release]:
        """Return the programs and toolchains that come out of release archives."""
        programs = {name: program for name, program in self.programs.items() if isinstance(program, Release)}
        return programs | dict(self.toolchains)

    @property
    def repositories(self) -> dict[str, Repositories]:
        """Return where RPMs come from, by the role of the root image that they go on."""
        return {role: root.repositories for role, root in self.pulled.items() if root.repositories}

    @property
    def archives(self) -> dict[str, str]:
        """Return the address of each archive whose packages go on images of registries, by what locks call it."""
        known = self.archive.by_name if self.archive else {}
        return known | {each.name: each.address for each in self.repositories.values()}

    def interpreter_of(self, role: str) -> str:
        """Return the Python of a root image."""
        return self.roots[role].interpreter or self.interpreter

    def glibc_of(self, role: str) -> str:
        """Return the glibc of a root image."""
        root = self.roots.get(role)
        return (root.glibc if root else "") or self.glibc
