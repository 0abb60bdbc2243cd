"""Catalogue of images: the types of containers/images.toml and its reader."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.facts import bases_toml
from dynamo_containers.facts import budget as budgets
from dynamo_containers.facts.pins import ENGINE_IMAGES, Pins, load_pins
from dynamo_containers.platforms import Platform
from dynamo_containers.toml_table import Table, any_of, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import Bases, GitSource, RegistryRoot

ROOT = Path(__file__).resolve().parents[2]
IMAGES_FILE = "containers/images.toml"
CANONICAL = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""The one spelling of a package's name (https://packaging.python.org/en/latest/specifications/name-normalization/)."""
REST = "rest"
"""The piece of a layer of Python packages that has what no other piece names."""


class Stage(Enum):
    """Who an image is for: the steps of the build graph in their order."""

    BASE = "base"
    BACKEND = "backend"
    RUNTIME = "runtime"
    CI = "ci"
    DEV = "dev"


class Way(Enum):
    """How an image gets its inference engine."""

    WHEELS = "wheels"
    """Locked wheels on the runtime root image."""
    IMAGE = "image"
    """The engine's own published image, by digest, onto which what Dynamo needs is added."""


ON_ENGINE_IMAGE = (Stage.RUNTIME, Stage.CI)
"""The stages of an image on a published one: nothing is compiled, and no set of OS packages is locked on top of it."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One thing a user can pull, and its `-ci` and `-dev` forms."""

    name: str
    title: str
    description: str
    repository: str
    stages: tuple[Stage, ...]
    bases: tuple[str, ...]
    platforms: tuple[Platform, ...]
    backend: str = ""
    """The inference engine in it ('' for none), as Dynamo names its module: dynamo.<backend>."""
    imports: tuple[str, ...] = ()
    """Modules of the engine and of Dynamo's worker for it, which must be importable without a device."""
    worker_arguments: tuple[str, ...] = ()
    """With which Dynamo's worker for the engine serves a tiny model on one GPU; `{model}` is that model's folder."""
    keeps: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Build programs that a runtime has, by pattern of their path -> the reason why."""
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Libraries that something in it asks for and that are not there, by pattern of their name -> the reason why."""
    shares: str = ""
    """The layer of Python packages that it has in common with other images ('' for none)."""
    pieces: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """How its own Python packages are cut into image layers: piece -> patterns of names; what none fits is `rest`."""
    os_packages: tuple[str, ...] = ()
    """The sets of OS packages that it needs at run time (`bases.*.packages`)."""
    compiles: Mapping[Platform, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """The packages that have no wheel for a platform and are compiled for it."""
    budget: Mapping[Platform, Mapping[str, int]] = field(default_factory=dict, hash=False)
    """What a runtime (or base) image of a platform may weigh; the keys of `budgets.KEYS`, in their units."""
    indexes: tuple[str, ...] = ()
    """The indexes that some of its Python packages are on, besides the machine's own."""
    way: Way = Way.WHEELS
    engine_image: RegistryRoot | None = None
    """The published image of its engine; it is used where `way` says so."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index of Python packages beside the machine's own, and the packages that are only taken from it."""

    url: str
    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A layer of Python packages that images have in common, computed from their locks."""

    must_be_alike: tuple[str, ...]
    """Patterns of the packages that its images must have alike."""
    pieces: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """How it is cut into image layers; see `Image.pieces`."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Everything that images.toml and pins.toml say."""

    folder: Path
    source: str
    licenses: str
    version_of: str
    oldest_glibc: str
    cooldown_days: int
    """How old a release must be on its index before a lock takes it."""
    reports_kept: int
    """How many builds `invoke report` looks back."""
    cooldown_exempt: Mapping[str, str]
    """Package -> the reason why its releases are taken at once."""
    left_out: Mapping[str, str]
    """Package -> the reason why it is in no lock although another package requires it."""
    cuda_exempt: Mapping[str, str]
    """Package -> the reason why it may be of another CUDA major than the bases."""
    shared: Mapping[str, Shared]
    """The layers of Python packages that images have in common."""
    indexes: Mapping[str, Index]
    sources: Mapping[str, GitSource]
    bases: Mapping[str, Bases]
    images: Mapping[str, Image]

    @cached_property
    def pins(self) -> Pins:
        """Return the pins; read when first asked for, so that listing images needs none.

        Raises:
            LockError: pins.toml is missing.
            UsageError: pins.toml breaks its rules.
        """
        return load_pins(self.folder)


def load_catalogue(folder: Path = ROOT) -> Catalogue:
    """Read images.toml below `folder`.

    Raises:
        UsageError: a key is unknown, missing or of the wrong type.
    """
    table = Table.read(folder, IMAGES_FILE)
    project = table.table("project")
    lock = table.table("lock")
    reports = table.table("reports")
    catalogue = Catalogue(
        folder=folder,
        source=project.string("source"),
        licenses=project.string("licenses"),
        version_of=project.string("version-of"),
        oldest_glibc=project.string("oldest-glibc"),
        cooldown_days=lock.integer("cooldown-days"),
        reports_kept=_count(reports, "keep"),
        cooldown_exempt=_reasons(lock, "cooldown-exempt"),
        left_out=_reasons(lock, "left-out"),
        cuda_exempt=_reasons(lock, "cuda-exempt"),
        shared={name: _shared(row) for name, row in lock.tables("shared", optional=True).items()},
        indexes=_indexes(table.tables("indexes", optional=True)),
        sources={name: bases_toml.read_source(row) for name, row in table.tables("sources", optional=True).items()},
        bases={name: bases_toml.read(name, row) for name, row in table.tables("bases").items()},
        images={name: _image(name, row) for name, row in table.tables("images").items()},
    )
    project.refuse_the_rest()
    lock.refuse_the_rest()
    reports.refuse_the_rest()
    table.refuse_the_rest()
    _check_references(catalogue)
    return catalogue


def _count(table: Table, key: str) -> int:
    count = table.integer(key)
    if count < 1:
        raise wrong(table.file, f"{table.path}.{key}", str(count), "1 or more")
    return count


def _reasons(table: Table, key: str) -> Mapping[str, str]:
    rows = table.table(key, optional=True)
    reasons = {name: rows.string(name) for name in rows.keys_left()}
    for name, reason in reasons.items():
        if not reason.strip():
            raise wrong(rows.file, f"{rows.path}.{name}", repr(reason), "the reason in words")
    return reasons


def _shared(row: Table) -> Shared:
    shared = Shared(must_be_alike=row.strings("must-be-alike"), pieces=_pieces(row.table("pieces", optional=True)))
    row.refuse_the_rest()
    return shared


def _pieces(row: Table) -> Mapping[str, tuple[str, ...]]:
    pieces = {name: row.strings(name) for name in row.keys_left()}
    if REST in pieces:
        raise wrong(row.file, f"{row.path}.{REST}", "a piece of that name", "another: it is what no pattern names")
    return pieces


def _indexes(rows: Mapping[str, Table]) -> Mapping[str, Index]:
    """Return the indexes; a package has one, so that nobody can offer it elsewhere under the same name."""
    indexes = {}
    taken: dict[str, str] = {}
    for name, row in rows.items():
        indexes[name] = Index(url=row.string("url"), packages=row.strings("packages"))
        row.refuse_the_rest()
        for package in indexes[name].packages:
            if not CANONICAL.fullmatch(package):  # under another spelling it would be looked for everywhere
                allowed = "a name as indexes spell it: lower case, digits and single dashes"
                raise wrong(row.file, f"{row.path}.packages", f'"{package}"', allowed)
            if package in taken:
                allowed = f'each package at one index: "{package}" is at "{taken[package]}" already'
                raise wrong(row.file, f"{row.path}.packages", f'"{package}"', allowed)
            taken[package] = name
    return indexes


def _image(name: str, row: Table) -> Image:
    way = _way(row)
    stages = tuple(Stage(stage) for stage in row.strings("stages", allowed=[stage.value for stage in Stage]))
    image = Image(
        name=name,
        title=row.string("title"),
        description=row.string("description"),
        repository=row.string("repository"),
        stages=stages if way is Way.WHEELS else tuple(stage for stage in stages if stage in ON_ENGINE_IMAGE),
        bases=row.strings("bases"),
        platforms=tuple(
            Platform(platform) for platform in row.strings("platforms", allowed=[each.value for each in Platform])
        ),
        backend=row.string("backend", optional=True),
        imports=row.strings("imports", optional=True),
        worker_arguments=row.strings("worker-arguments", optional=True),
        keeps=_reasons(row, "keeps"),
        lacks=_reasons(row, "lacks"),
        shares=row.string("shares", optional=True),
        pieces=_pieces(row.table("pieces", optional=True)),
        os_packages=row.strings("os-packages", optional=True),
        compiles=_compiles(row.table("compiles", optional=True)),
        indexes=row.strings("indexes", optional=True),
        way=way,
        engine_image=bases_toml.engine_image(row),
        budget=_budget(row.table("budget", optional=True)),
    )
    row.refuse_the_rest()
    if way is Way.IMAGE and not (image.engine_image and image.backend):
        lacks = "engine-image" if image.backend else "backend"
        allowed = f'"{way.value}" with {lacks}, or "{Way.WHEELS.value}"'
        raise wrong(row.file, f"{row.path}.way", f'"{way.value}" without {lacks}', allowed)
    return image


def _way(row: Table) -> Way:
    word = row.string("way", optional=True) or Way.WHEELS.value
    known = [way.value for way in Way]
    if word not in known:
        raise wrong(row.file, f"{row.path}.way", f'"{word}"', any_of(known))
    return Way(word)


def _compiles(row: Table) -> Mapping[Platform, tuple[str, ...]]:
    known = {platform.value: platform for platform in Platform}
    found = {known[name]: row.strings(name) for name in known if name in row.keys_left()}
    row.refuse_the_rest()
    return found


def _budget(row: Table) -> Mapping[Platform, Mapping[str, int]]:
    known = {platform.value: platform for platform in Platform}
    found = {known[name]: budgets.read(row.table(name)) for name in known if name in row.keys_left()}
    row.refuse_the_rest()
    return found


def _check_references(catalogue: Catalogue) -> None:
    if ENGINE_IMAGES in catalogue.bases:  # their pins would be in one table
        raise wrong(IMAGES_FILE, f"bases.{ENGINE_IMAGES}", "bases of that name", "another: pins.toml has it for images")
    for image in catalogue.images.values():
        for name in image.bases:
            if name not in catalogue.bases:
                raise wrong(IMAGES_FILE, f"images.{image.name}.bases", f'"{name}"', any_of(catalogue.bases))
        for index in image.indexes:
            if index not in catalogue.indexes:
                raise wrong(IMAGES_FILE, f"images.{image.name}.indexes", f'"{index}"', any_of(catalogue.indexes))
        _check_index_pieces(image)
        if not image.shares and any(budgets.SECOND in row for row in image.budget.values()):
            allowed = "no such key: an image without `shares` has nothing in common with a second one"
            raise wrong(IMAGES_FILE, f"images.{image.name}.budget", budgets.SECOND, allowed)
        if image.shares and image.shares not in catalogue.shared:
            raise wrong(IMAGES_FILE, f"images.{image.name}.shares", f'"{image.shares}"', any_of(catalogue.shared))


def _check_index_pieces(image: Image) -> None:
    """Refuse what would let a package with an index of its own be taken from another one."""
    for index in image.indexes:
        if index in (*image.pieces, REST):
            raise wrong(IMAGES_FILE, f"images.{image.name}.indexes", f'"{index}"', "an index that no piece is named as")
    if image.indexes and image.shares:
        allowed = "no key beside indexes: what is shared is taken from the machine's own index"
        raise wrong(IMAGES_FILE, f"images.{image.name}.shares", f'"{image.shares}"', allowed)
