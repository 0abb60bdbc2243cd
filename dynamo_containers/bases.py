"""What can the build graph stand on? The rows `bases.*` and `sources.*` of containers/images.toml, and their reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamo_containers import os_archive
from dynamo_containers.toml_table import any_of, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.os_archive import Archive
    from dynamo_containers.platforms import Platform
    from dynamo_containers.toml_table import Table


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

    on: str
    """The role of that root image: what it has already is no part of the set's lock."""
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

    def address(self, platform: Platform) -> str:
        """Return where the archive for a platform is."""
        return self._filled(self.url, platform)

    def members(self, platform: Platform) -> Mapping[str, str]:
        """Return which files of the archive for a platform go where."""
        return {self._filled(source, platform): target for source, target in self.files.items()}

    def _filled(self, text: str, platform: Platform) -> str:
        return text.replace("{version}", self.version).replace("{arch}", platform.arch)


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """Source code that something is built from: a repository, and a tag or branch of it."""

    git: str
    ref: str
    build: str = ""
    """What wheels are built from, as on the command line (`source_builds.chosen`); '' for not at all."""


@dataclass(frozen=True, kw_only=True)
class Sources:
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
    archive: Archive | None = None
    """Where packages come from that go on root images of registries."""
    sources: Sources = Sources()

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
        """Return the programs that come out of release archives."""
        return {name: program for name, program in self.programs.items() if isinstance(program, Release)}

    def interpreter_of(self, role: str) -> str:
        """Return the Python of a root image."""
        return self.roots[role].interpreter or self.interpreter

    def glibc_of(self, role: str) -> str:
        """Return the glibc of a root image."""
        root = self.roots.get(role)
        return (root.glibc if root else "") or self.glibc


def read(name: str, row: Table) -> Bases:
    """Read a row `bases.NAME`."""
    archive = os_archive.read(row.table("archive")) if "archive" in row.keys_left() else None
    roots = {role: _root(role, root, archive) for role, root in row.tables("roots", optional=True).items()}
    bases = Bases(
        name=name,
        description=row.string("description"),
        strict=row.boolean("strict"),
        python=row.string("python"),
        interpreter=row.string("interpreter"),
        glibc=row.string("glibc"),
        cuda=row.string("cuda", optional=True),
        roots=roots,
        programs={program: _program(entry) for program, entry in row.tables("programs", optional=True).items()},
        packages=_package_sets(row.tables("packages", optional=True), roots),
        archive=archive,
        sources=_sources(row.table("sources", optional=True)),
    )
    row.refuse_the_rest()
    return bases


def _root(role: str, row: Table, archive: Archive | None) -> Root | RegistryRoot:
    interpreter, glibc = row.string("interpreter", optional=True), row.string("glibc", optional=True)
    root: Root | RegistryRoot
    if "image" in row.keys_left():
        root = RegistryRoot(
            image=_tagged(row, row.string("image")),
            suite=row.string("suite", optional=True),
            packages=row.strings("packages", optional=True),
            interpreter=interpreter,
            glibc=glibc,
        )
        _check_extended(role, row, root, archive)
    else:
        packages = row.strings("packages")
        root = Root(suite=row.string("suite"), packages=packages, interpreter=interpreter, glibc=glibc)
    row.refuse_the_rest()
    return root


def _check_extended(role: str, row: Table, root: RegistryRoot, archive: Archive | None) -> None:
    """Refuse OS packages on a root image of a registry that nobody could lock or install."""
    if bool(root.suite) is not bool(root.packages):
        lacks, has = ("packages", "suite") if root.suite else ("suite", "packages")
        raise wrong(
            row.file, row.path, f"{has} without {lacks}", "both: what is installed on the image, and of which suite"
        )
    if root.suite and archive is None:
        raise wrong(row.file, f"{row.path}.suite", f'"{root.suite}"', "no suite: the bases have no row `archive`")
    if root.suite and role == BUILDER:  # its steps also run for the machine that builds, whatever is asked for
        raise wrong(row.file, f"{row.path}.packages", "packages", "none: a builder of a registry is taken as it is")


def _tagged(row: Table, image: str, key: str = "image") -> str:
    # The digest stands in pins.toml; without a tag nobody could tell what it is one of.
    if "@" in image or ":" not in image.rpartition("/")[2] or "{" in image.replace("{machine}", ""):
        raise wrong(row.file, f"{row.path}.{key}", f'"{image}"', "REGISTRY/NAME:TAG without a digest, maybe {machine}")
    return image


def engine_image(row: Table) -> RegistryRoot | None:
    """Read what an image's row says of the published image of its engine; None where it names none."""
    image, interpreter = row.string("engine-image", optional=True), row.string("engine-interpreter", optional=True)
    return RegistryRoot(image=_tagged(row, image, "engine-image"), interpreter=interpreter) if image else None


def _package_sets(rows: Mapping[str, Table], roots: Mapping[str, Root | RegistryRoot]) -> dict[str, PackageSet]:
    made = [role for role, root in roots.items() if root.suite]
    sets = {}
    for name, row in rows.items():
        if name in roots:  # their locks would be one file
            raise wrong(row.file, row.path, f'a set called "{name}"', "a name that no root image has")
        on, packages = row.string("on"), row.strings("packages")
        row.refuse_the_rest()
        if on not in made:
            raise wrong(row.file, f"{row.path}.on", f'"{on}"', _on(made))
        if not packages:
            raise wrong(row.file, f"{row.path}.packages", "[]", "at least one package")
        sets[name] = PackageSet(on=on, packages=packages)
    return sets


def _on(roles: list[str]) -> str:
    return any_of(roles) if roles else "no set: no root image has a suite to take packages of"


def _sources(row: Table) -> Sources:
    sources = Sources(pool=row.string("pool", optional=True), snapshot=row.string("snapshot", optional=True))
    row.refuse_the_rest()
    if sources.snapshot and "{timestamp}" not in sources.snapshot:
        raise wrong(row.file, f"{row.path}.snapshot", f'"{sources.snapshot}"', "a URL with {timestamp} in it")
    return sources


def _program(row: Table) -> Program | Release:
    row.refuse_both("url", ("suite", "package"))
    row.refuse_both("version", ("suite", "package"))
    files = row.string_table("files")
    program: Program | Release
    if {"url", "version"} & set(row.keys_left()):
        program = Release(url=row.string("url"), version=row.string("version"), files=files)
    else:
        program = Program(suite=row.string("suite"), package=row.string("package"), files=files)
    row.refuse_the_rest()
    return program


def read_source(row: Table) -> GitSource:
    """Read a row `sources.NAME`."""
    source = GitSource(git=row.string("git"), ref=row.string("ref"), build=row.string("build", optional=True))
    row.refuse_the_rest()
    return source
