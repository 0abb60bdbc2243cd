"""Reader of the rows `bases.*` and `sources.*` of images.toml; unknown keys are refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts import apt_archive, rpm_repositories
from dynamo_containers.facts.bases import (
    BUILDER,
    Bases,
    DebSources,
    GitSource,
    PackageSet,
    Program,
    RegistryRoot,
    Release,
    Root,
)
from dynamo_containers.toml_table import any_of, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.apt_archive import AptArchive
    from dynamo_containers.facts.rpm_repositories import RpmRepositories
    from dynamo_containers.toml_table import Table


def read(name: str, row: Table) -> Bases:
    """Read a row `bases.NAME`."""
    archive = apt_archive.read(row.table("archive")) if "archive" in row.keys_left() else None
    python = row.string("python")
    minor = ".".join(python.split(".")[:2])
    roots = {role: _root(role, root, archive) for role, root in row.tables("roots", optional=True).items()}
    bases = Bases(
        name=name,
        description=row.string("description"),
        strict=row.boolean("strict"),
        python=minor,
        python_release=python if python != minor else "",
        interpreter=row.string("interpreter"),
        glibc=row.string("glibc"),
        cuda=row.string("cuda", optional=True),
        roots=roots,
        programs={program: _program(entry) for program, entry in row.tables("programs", optional=True).items()},
        packages=_package_sets(row.tables("packages", optional=True), roots),
        toolchains={name: _toolchain(entry) for name, entry in row.tables("toolchains", optional=True).items()},
        archive=archive,
        deb_sources=_deb_sources(row.table("deb-sources", optional=True)),
    )
    row.refuse_the_rest()
    _check_toolchains(row, bases)
    _check_files(row, bases)
    _check_root_pythons(row, bases)
    return bases


def _check_root_pythons(row: Table, bases: Bases) -> None:
    """Refuse a Python of a root image that is not a patch release of that of its bases: its wheels would not fit."""
    for role, root in bases.roots.items():
        if root.python and not root.python.startswith(f"{bases.python}."):
            allowed = f'a patch release of Python {bases.python}, such as "{bases.python}.2"'
            raise wrong(row.file, f"{row.path}.roots.{role}.python", f'"{root.python}"', allowed)


def _check_files(row: Table, bases: Bases) -> None:
    """Refuse two files at one path of the image, or below a path that is a file."""
    owners: dict[str, str] = {}
    for name, program in bases.programs.items():
        for target in program.files.values():
            folders = (target[:end] for end in range(1, len(target)) if target[end] == "/")
            other = next((path for path in (target, *folders) if path in owners), "")
            beneath = next((path for path in owners if path.startswith(f"{target}/")), "")
            if conflict := other or beneath:
                allowed = f"a path that does not conflict with {conflict} of {owners[conflict]}"
                raise wrong(row.file, f"{row.path}.programs.{name}.files", f'"{target}"', allowed)
            owners[target] = name


def _check_toolchains(row: Table, bases: Bases) -> None:
    for name in bases.toolchains:
        if name not in bases.packages:
            raise wrong(row.file, f"{row.path}.toolchains", f'"{name}"', any_of(list(bases.packages)))
        if name in bases.programs:  # their pins would be the same row
            raise wrong(row.file, f"{row.path}.toolchains", f'"{name}"', "a name that no program has")


def _root(role: str, row: Table, archive: AptArchive | None) -> Root | RegistryRoot:
    interpreter, glibc = row.string("interpreter", optional=True), row.string("glibc", optional=True)
    python = row.string("python", optional=True)
    root: Root | RegistryRoot
    if "image" in row.keys_left():
        root = RegistryRoot(
            image=row.string("image"),
            suite=row.string("suite", optional=True),
            packages=row.strings("packages", optional=True),
            repositories=_repositories(row),
            interpreter=interpreter,
            glibc=glibc,
            python=python,
        )
        _check_extended(role, row, root, archive)
    else:
        packages = row.strings("packages")
        suite = row.string("suite")
        root = Root(suite=suite, packages=packages, interpreter=interpreter, glibc=glibc, python=python)
    row.refuse_the_rest()
    return root


def _repositories(row: Table) -> RpmRepositories | None:
    return rpm_repositories.read(row.table("repositories")) if "repositories" in row.keys_left() else None


def _check_extended(role: str, row: Table, root: RegistryRoot, archive: AptArchive | None) -> None:
    """Refuse OS packages on a root image of a registry that could not be locked or installed."""
    if bool(root.suite) is not bool(root.packages):
        present, missing = ("suite", "packages") if root.suite else ("packages", "suite")
        allowed = "both: the packages to install on the image, and their suite"
        raise wrong(row.file, row.path, f"{present} without {missing}", allowed)
    if root.suite and root.repositories:
        raise wrong(row.file, f"{row.path}.repositories", "repositories", "none: a suite has .deb packages")
    if root.suite and archive is None:
        allowed = "no suite, because the bases have no row `archive`"
        raise wrong(row.file, f"{row.path}.suite", f'"{root.suite}"', allowed)
    if root.suite and role == BUILDER:  # its targets also run on the platform of the machine that builds
        raise wrong(row.file, f"{row.path}.packages", "packages", "none: the builder of a registry is used as it is")


def engine_image(row: Table) -> RegistryRoot | None:
    """Read the keys of an image about the published image of its engine; None if there are none."""
    image, interpreter = row.string("engine-image", optional=True), row.string("engine-interpreter", optional=True)
    return RegistryRoot(image=image, interpreter=interpreter) if image else None


def _package_sets(rows: Mapping[str, Table], roots: Mapping[str, Root | RegistryRoot]) -> dict[str, PackageSet]:
    roles = [
        role for role, root in roots.items() if root.suite or (isinstance(root, RegistryRoot) and root.repositories)
    ]
    sets = {}
    for name, row in rows.items():
        if name in roots:  # their locks would be the same file
            raise wrong(row.file, row.path, f'a set called "{name}"', "a name that no root image has")
        root, packages = row.string("root"), row.strings("packages")
        row.refuse_the_rest()
        if root not in roles:
            raise wrong(row.file, f"{row.path}.root", f'"{root}"', _root_choices(roles))
        if not packages:
            raise wrong(row.file, f"{row.path}.packages", "[]", "at least one package")
        sets[name] = PackageSet(root=root, packages=packages)
    return sets


def _root_choices(roles: list[str]) -> str:
    return any_of(roles) if roles else "no set, because no root image has a suite or repositories"


def _toolchain(row: Table) -> Release:
    """Read a row `bases.NAME.toolchains.SET`."""
    url, version, installer = row.string("url"), row.string("version"), row.string("installer")
    row.refuse_the_rest()
    return Release(url=url, version=version, files={}, installer=installer)


def _deb_sources(row: Table) -> DebSources:
    sources = DebSources(pool=row.string("pool", optional=True), snapshot=row.string("snapshot", optional=True))
    row.refuse_the_rest()
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
