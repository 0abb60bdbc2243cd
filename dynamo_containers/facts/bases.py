"""Types of the rows `bases.*` and `sources.*` of containers/images.toml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.apt_archive import AptArchive
    from dynamo_containers.facts.rpm_repositories import RpmRepositories
    from dynamo_containers.platforms import Platform


BUILDER = "builder"
"""The role of the root image that downloads and installs wheels."""


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root image that mmdebstrap builds: a Debian suite, and packages in addition to the minimum."""

    suite: str
    packages: tuple[str, ...]
    interpreter: str = ""
    """Its Python, where that is not the one of its bases."""
    glibc: str = ""
    """Its glibc, where that is not the one of its bases."""
    python: str = ""
    """The full version of its Python, such as `3.12.13`, where that is not the one of its bases."""


@dataclass(frozen=True, kw_only=True)
class RegistryRoot:
    """A root image in a registry."""

    image: str
    """Its reference, with {machine} (`x86_64`) if each platform has its own repository."""
    suite: str = ""
    """Its suite in the archive of its bases ('' if no packages are installed on it)."""
    packages: tuple[str, ...] = ()
    """Packages to install on it first: every image that is based on it needs them."""
    repositories: RpmRepositories | None = None
    """The repositories of its RPMs (None: it has .deb packages, or no packages are installed on it)."""
    interpreter: str = ""
    """Its Python, where that is not the one of its bases."""
    glibc: str = ""
    """Its glibc, where that is not the one of its bases."""
    python: str = ""
    """The full version of its Python, such as `3.12.13`, where that is not the one of its bases."""

    @property
    def split(self) -> bool:
        """Say whether each platform has its own repository, and so there is no index."""
        return "{machine}" in self.image

    def reference(self, platform: Platform) -> str:
        """Return the reference for a platform."""
        return self.image.replace("{machine}", platform.machine)


@dataclass(frozen=True, kw_only=True)
class PackageSet:
    """A set of OS packages that is installed in one layer."""

    root: str
    """The role of the root image below it. Packages of the root image are not in the lock of the set."""
    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that is not a Python package: its .deb package, and which of its files to copy where."""

    suite: str
    package: str
    files: Mapping[str, str]

    def members(self, platform: Platform) -> Mapping[str, str]:  # noqa: ARG002 - the signature of Release.members
        """Return file in the package -> path in the image."""
        return self.files


@dataclass(frozen=True, kw_only=True)
class Release:
    """A program in a release archive (.tar.gz): its URL, and which of its files to copy where."""

    url: str
    version: str
    files: Mapping[str, str]
    installer: str = ""
    """The script in the archive that installs it; '' if `files` names the files."""

    def address(self, platform: Platform) -> str:
        """Return the URL of the archive for a platform."""
        return self._filled(self.url, platform)

    def members(self, platform: Platform) -> Mapping[str, str]:
        """Return file in the archive for a platform -> path in the image."""
        return {self._filled(source, platform): target for source, target in self.files.items()}

    def installer_of(self, platform: Platform) -> str:
        """Return the install script in the archive for a platform."""
        return self._filled(self.installer, platform)

    def _filled(self, text: str, platform: Platform) -> str:
        fields = {"{version}": self.version, "{arch}": platform.arch, "{machine}": platform.machine}
        for field_name, value in fields.items():
            text = text.replace(field_name, value)
        return text


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """Source code: a git repository, and a tag or branch."""

    git: str
    ref: str
    build: str = ""
    """The source to build wheels from, as on the command line (`source_builds.select`); '' for no source build."""


@dataclass(frozen=True, kw_only=True)
class DebSources:
    """Origins of locked .debs that have precedence over the mirror of the host ('' for none)."""

    pool: str = ""
    """A folder (relative to the checkout) or URL, with files by archive and path, or below sha256/."""
    snapshot: str = ""
    """The URL of a snapshot service, with {timestamp}, and {archive} if it has several archives."""


@dataclass(frozen=True, kw_only=True)
class Bases:
    """A set of root images that every image can be based on."""

    name: str
    description: str
    strict: bool
    python: str
    """The Python of its images, major and minor: `3.11`."""
    python_release: str = ""
    """The same with its patch release, `3.11.2`; '' where images.toml does not state it."""
    interpreter: str
    glibc: str
    cuda: str = ""
    """The CUDA major of its libraries, such as '13' ('' for any)."""
    roots: Mapping[str, Root | RegistryRoot]
    programs: Mapping[str, Program | Release]
    packages: Mapping[str, PackageSet] = field(default_factory=dict)
    toolchains: Mapping[str, Release] = field(default_factory=dict)
    """Set of OS packages -> the compiler to add to it, where that of the distribution is too old."""
    archive: AptArchive | None = None
    """The archive of the packages on its root images of registries."""
    deb_sources: DebSources = DebSources()

    @property
    def bootstrapped_roots(self) -> dict[str, Root]:
        """Return the root images that are built from packages."""
        return {role: root for role, root in self.roots.items() if isinstance(root, Root)}

    @property
    def registry_roots(self) -> dict[str, RegistryRoot]:
        """Return the root images in registries."""
        return {role: root for role, root in self.roots.items() if isinstance(root, RegistryRoot)}

    @property
    def extended_roots(self) -> dict[str, RegistryRoot]:
        """Return the root images in registries that OS packages are installed on."""
        return {role: root for role, root in self.registry_roots.items() if root.suite}

    @property
    def packaged_programs(self) -> dict[str, Program]:
        """Return the programs from .deb packages."""
        return {name: program for name, program in self.programs.items() if isinstance(program, Program)}

    @property
    def archive_programs(self) -> dict[str, Release]:
        """Return the programs and toolchains from release archives."""
        programs = {name: program for name, program in self.programs.items() if isinstance(program, Release)}
        return programs | dict(self.toolchains)

    @property
    def repositories(self) -> dict[str, RpmRepositories]:
        """Return role of a root image -> the repositories of its RPMs."""
        return {role: root.repositories for role, root in self.registry_roots.items() if root.repositories}

    @property
    def archives(self) -> dict[str, str]:
        """Return name in locks -> address, for each archive of packages on root images of registries."""
        debs = self.archive.by_name if self.archive else {}
        return debs | {repositories.name: repositories.address for repositories in self.repositories.values()}

    def interpreter_of(self, role: str) -> str:
        """Return the Python of a root image."""
        return self.roots[role].interpreter or self.interpreter

    def python_of(self, role: str) -> str:
        """Return the Python of a root image: `3.11.2`, or `3.11` where images.toml does not state the patch release.

        A root image with an interpreter of its own need not have the patch release of its bases.
        """
        root = self.roots.get(role)
        if root and (root.python or root.interpreter not in ("", self.interpreter)):
            return root.python or self.python
        return self.python_release or self.python

    def glibc_of(self, role: str) -> str:
        """Return the glibc of a root image."""
        root = self.roots.get(role)
        return (root.glibc if root else "") or self.glibc
