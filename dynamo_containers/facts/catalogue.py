"""Catalogue of images: the types of containers/images.toml and its reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts import bases_toml, content, data_check
from dynamo_containers.facts import budget as budgets
from dynamo_containers.facts.content import ContentRules
from dynamo_containers.facts.locks import not_locked
from dynamo_containers.facts.pins import ENGINE_IMAGES, Pins, load_pins
from dynamo_containers.platforms import Platform
from dynamo_containers.toml_table import Table, any_of, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import Bases, GitSource, RegistryRoot
    from dynamo_containers.facts.locks.not_locked import NotLocked

ROOT = Path(__file__).resolve().parents[2]
IMAGES_FILE = "containers/images.toml"
REST = "rest"
"""The image layer with the Python packages that no pattern of `package-layers` fits."""


class Stage(Enum):
    """Stage of an image, in the order of the build graph."""

    BASE = "base"
    BACKEND = "backend"
    RUNTIME = "runtime"
    CI = "ci"
    DEV = "dev"


class InstallFrom(Enum):
    """How an image gets its inference engine."""

    WHEELS = "wheels"
    """Locked wheels on the runtime root image."""
    IMAGE = "image"
    """The published image of the engine, by digest, with Dynamo and its requirements added."""


ON_ENGINE_IMAGE = (Stage.RUNTIME, Stage.CI)
"""The stages of an image that is based on a published one: it has no compiled packages and no sets of OS packages."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that users pull, with its `-ci` and `-dev` variants."""

    name: str
    title: str
    description: str
    repository: str
    stages: tuple[Stage, ...]
    bases: tuple[str, ...]
    platforms: tuple[Platform, ...]
    backend: str = ""
    """Its inference engine, by the name of the module of Dynamo: dynamo.<backend> ('' for none)."""
    imports: tuple[str, ...] = ()
    """Modules of the engine and of its Dynamo worker that must be importable without a device."""
    worker_arguments: tuple[str, ...] = ()
    """The arguments of the Dynamo worker that serves a tiny model on one GPU; `{model}` is the folder of the model."""
    allow_build_tools: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Build tools that its runtime may contain: pattern of their path -> the reason."""
    missing_libraries: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Libraries that a file in it links and that are not in it: pattern of their name -> the reason."""
    unloadable_libraries: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Extension modules in it that cannot be opened without a device or at all: pattern of their path -> the reason."""
    common_layer: str = ""
    """The layer of Python packages that it has in common with other images ('' for none)."""
    package_layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Image layer -> patterns of the names of its own Python packages; a package that no pattern fits is in `rest`."""
    os_packages: tuple[str, ...] = ()
    """Its sets of OS packages at run time (`bases.*.packages`)."""
    compile_from_source: Mapping[Platform, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Platform -> the packages that have no wheel for it and are compiled."""
    budget: Mapping[Platform, Mapping[str, int]] = field(default_factory=dict, hash=False)
    """Platform -> the limits for the size of its runtime (or base) image, by the keys of `budgets.KEYS`."""
    indexes: tuple[str, ...] = ()
    """Indexes of some of its Python packages, in addition to the index of the machine."""
    install_from: InstallFrom = InstallFrom.WHEELS
    engine_image: RegistryRoot | None = None
    """The published image of its engine, which is used with `InstallFrom.IMAGE`."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """An additional index of Python packages, and the packages that come only from it."""

    url: str
    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CommonLayer:
    """A layer of Python packages that images have in common, computed from their locks."""

    same_version: tuple[str, ...]
    """Patterns of the packages that all its images must have in the same version."""
    package_layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """The image layers that it is split into; see `Image.package_layers`."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The content of images.toml and pins.toml."""

    folder: Path
    source: str
    licenses: str
    version_package: str
    """The package in the base lock whose version every image has."""
    oldest_glibc: str
    cooldown_days: int
    """The days that a release must be on its index before it can be locked."""
    reports_kept: int
    """The number of builds whose reports are kept."""
    cooldown_exempt: Mapping[str, str]
    """Package -> the reason why its releases can be locked at once."""
    excluded: Mapping[str, str]
    """Package -> the reason why it is in no lock although another package requires it."""
    cuda_exempt: Mapping[str, str]
    """Package -> the reason why it may be of another CUDA major than the bases."""
    cuda_versioned: Mapping[str, str]
    """Pattern of packages whose own version has CUDA's major -> how that is known."""
    common_layers: Mapping[str, CommonLayer]
    """The layers of Python packages that images have in common."""
    not_locked: Mapping[str, NotLocked]
    """Locks and pins that are knowingly missing, in rows with a reason."""
    indexes: Mapping[str, Index]
    sources: Mapping[str, GitSource]
    bases: Mapping[str, Bases]
    images: Mapping[str, Image]
    accepted_content: Mapping[str, str] = field(default_factory=dict)
    """`name==version` of packages with suspicious content -> the reason for which it is accepted."""
    content: ContentRules = field(default_factory=ContentRules)
    """What no layer of an image may contain."""

    @cached_property
    def pins(self) -> Pins:
        """Return the pins; they are read at the first use, so that listing images does not need them.

        Raises:
            LockError: pins.toml is missing.
            UsageError: pins.toml breaks its rules.
        """
        return load_pins(self.folder)


def load_catalogue(folder: Path = ROOT) -> Catalogue:
    """Read images.toml below `folder`.

    Raises:
        UsageError: a key is unknown or missing, or a value is not allowed.
    """
    table = Table.read(folder, IMAGES_FILE)
    data_check.check(table, Path(IMAGES_FILE).name, folder)
    project = table.table("project")
    lock = table.table("lock")
    reports = table.table("reports")
    catalogue = Catalogue(
        folder=folder,
        source=project.string("source"),
        licenses=project.string("licenses"),
        version_package=project.string("version-package"),
        oldest_glibc=project.string("oldest-glibc"),
        cooldown_days=lock.integer("cooldown-days"),
        reports_kept=reports.integer("keep"),
        cooldown_exempt=_reasons(lock, "cooldown-exempt"),
        excluded=_reasons(lock, "excluded"),
        cuda_exempt=_reasons(lock, "cuda-exempt"),
        cuda_versioned=_reasons(lock, "cuda-versioned"),
        accepted_content=_reasons(lock, "accepted-content"),
        common_layers={name: _common_layer(row) for name, row in lock.tables("common-layers", optional=True).items()},
        not_locked=not_locked.read(lock.tables("not-locked", optional=True)),
        indexes=_indexes(table.tables("indexes", optional=True)),
        sources={name: bases_toml.read_source(row) for name, row in table.tables("sources", optional=True).items()},
        bases={name: bases_toml.read(name, row) for name, row in table.tables("bases").items()},
        images={name: _image(name, row) for name, row in table.tables("images").items()},
        content=content.read(table.table("content", optional=True)),
    )
    project.refuse_the_rest()
    lock.refuse_the_rest()
    reports.refuse_the_rest()
    table.refuse_the_rest()
    _check_references(catalogue)
    return catalogue


def _reasons(table: Table, key: str) -> Mapping[str, str]:
    rows = table.table(key, optional=True)
    return {name: rows.string(name) for name in rows.keys_left()}


def _common_layer(row: Table) -> CommonLayer:
    layer = CommonLayer(same_version=row.strings("same-version"), package_layers=_package_layers(row))
    row.refuse_the_rest()
    return layer


def _package_layers(image: Table) -> Mapping[str, tuple[str, ...]]:
    row = image.table("package-layers", optional=True)
    layers = {name: row.strings(name) for name in row.keys_left()}
    if REST in layers:
        allowed = "another name: it has the packages that no pattern fits"
        raise wrong(row.file, f"{row.path}.{REST}", "a layer of that name", allowed)
    return layers


def _indexes(rows: Mapping[str, Table]) -> Mapping[str, Index]:
    """Return the indexes; a package has only one, so that no other index can replace it."""
    indexes = {}
    owners: dict[str, str] = {}
    for name, row in rows.items():
        indexes[name] = Index(url=row.string("url"), packages=row.strings("packages"))
        row.refuse_the_rest()
        for package in indexes[name].packages:
            if package in owners:
                allowed = f'one index per package: "{package}" is already in "{owners[package]}"'
                raise wrong(row.file, f"{row.path}.packages", f'"{package}"', allowed)
            owners[package] = name
    return indexes


def _image(name: str, row: Table) -> Image:
    install_from = InstallFrom(row.string("install-from", optional=True) or InstallFrom.WHEELS.value)
    stages = tuple(Stage(stage) for stage in row.strings("stages"))
    image = Image(
        name=name,
        title=row.string("title"),
        description=row.string("description"),
        repository=row.string("repository"),
        stages=stages
        if install_from is InstallFrom.WHEELS
        else tuple(stage for stage in stages if stage in ON_ENGINE_IMAGE),
        bases=row.strings("bases"),
        platforms=tuple(Platform(name) for name in row.strings("platforms")),
        backend=row.string("backend", optional=True),
        imports=row.strings("imports", optional=True),
        worker_arguments=row.strings("worker-arguments", optional=True),
        allow_build_tools=_reasons(row, "allow-build-tools"),
        missing_libraries=_reasons(row, "missing-libraries"),
        unloadable_libraries=_reasons(row, "unloadable-libraries"),
        common_layer=row.string("common-layer", optional=True),
        package_layers=_package_layers(row),
        os_packages=row.strings("os-packages", optional=True),
        compile_from_source=_compile_from_source(row.table("compile-from-source", optional=True)),
        indexes=row.strings("indexes", optional=True),
        install_from=install_from,
        engine_image=bases_toml.engine_image(row),
        budget=_budget(row.table("budget", optional=True)),
    )
    row.refuse_the_rest()
    if install_from is InstallFrom.IMAGE and not (image.engine_image and image.backend):
        key = "engine-image" if image.backend else "backend"
        allowed = f'"{install_from.value}" with {key}, or "{InstallFrom.WHEELS.value}"'
        raise wrong(row.file, f"{row.path}.install-from", f'"{install_from.value}" without {key}', allowed)
    return image


def _compile_from_source(row: Table) -> Mapping[Platform, tuple[str, ...]]:
    packages = {platform: row.strings(platform.value) for platform in Platform if platform.value in row.keys_left()}
    row.refuse_the_rest()
    return packages


def _budget(row: Table) -> Mapping[Platform, Mapping[str, int]]:
    named = [platform for platform in Platform if platform.value in row.keys_left()]
    limits = {platform: budgets.read(row.table(platform.value)) for platform in named}
    row.refuse_the_rest()
    return limits


def repository(image: Image, stage: Stage) -> str:
    """Return the name of an image at a stage, without its tag."""
    return image.repository + ("" if stage in (Stage.BASE, Stage.RUNTIME) else f"-{stage.value}")


def _check_tags(catalogue: Catalogue) -> None:
    """Refuse rows whose images would replace each other: two with one tag."""
    owners: dict[str, str] = {}
    for image in catalogue.images.values():
        for stage in image.stages:
            name, owner = repository(image, stage), f"{image.name} ({stage.value})"
            if name in owners:
                allowed = f"another name: {owners[name]} has the tag {name} already"
                raise wrong(IMAGES_FILE, f"images.{image.name}.repository", f'"{image.repository}"', allowed)
            owners[name] = owner
    for name in catalogue.bases:  # a tag ends in BASES, or in BASES-ARCH
        if name.endswith(tuple(f"-{platform.arch}" for platform in Platform)):
            allowed = "a name that does not end in an architecture, as tags do"
            raise wrong(IMAGES_FILE, f"bases.{name}", "bases of that name", allowed)


def _check_references(catalogue: Catalogue) -> None:
    _check_tags(catalogue)
    if ENGINE_IMAGES in catalogue.bases:  # their pins would be in the same table
        allowed = "another name, because pins.toml uses it"
        raise wrong(IMAGES_FILE, f"bases.{ENGINE_IMAGES}", "bases of that name", allowed)
    for image in catalogue.images.values():
        for name in image.bases:
            if name not in catalogue.bases:
                raise wrong(IMAGES_FILE, f"images.{image.name}.bases", f'"{name}"', any_of(catalogue.bases))
        for index in image.indexes:
            if index not in catalogue.indexes:
                raise wrong(IMAGES_FILE, f"images.{image.name}.indexes", f'"{index}"', any_of(catalogue.indexes))
        _check_index_pieces(image)
        if not image.common_layer and any(budgets.SECOND in row for row in image.budget.values()):
            allowed = "no such key, because the image has no common-layer"
            raise wrong(IMAGES_FILE, f"images.{image.name}.budget", budgets.SECOND, allowed)
        if image.common_layer and image.common_layer not in catalogue.common_layers:
            raise wrong(
                IMAGES_FILE,
                f"images.{image.name}.common-layer",
                f'"{image.common_layer}"',
                any_of(catalogue.common_layers),
            )


def _check_index_pieces(image: Image) -> None:
    """Refuse keys that would let a package of one index come from another one."""
    for index in image.indexes:
        if index in (*image.package_layers, REST):
            raise wrong(
                IMAGES_FILE,
                f"images.{image.name}.indexes",
                f'"{index}"',
                "an index whose name is not that of a layer in package-layers",
            )
    if image.indexes and image.common_layer:
        allowed = "no such key together with indexes: a common layer comes from the index of the machine"
        raise wrong(IMAGES_FILE, f"images.{image.name}.common-layer", f'"{image.common_layer}"', allowed)
