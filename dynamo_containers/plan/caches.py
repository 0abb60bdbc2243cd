"""Build caches of a request, as references for BuildKit.

A cache is in a registry or a folder, under a name for each image, stage, bases and platforms. The commit is neither in
that name nor in the key of a step (docs/how-to/caches.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import spelling
from dynamo_containers.errors import UsageError
from dynamo_containers.facts import user_config
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.request import Request
    from dynamo_containers.plan.target import Targets
    from dynamo_containers.toml_table import Table

VARIABLE, USER_FILE = user_config.CACHES
NONE = "none"
"""The option that reads or writes no cache, whatever the file of this machine states."""
FROM_FILE = "from file"
"""`--cache-to` without a place: the file of this machine states it."""
FOLDER_BEGINNINGS = ("/", "./", "../", "~")
EXPORT_OPTIONS = "mode=max,compression=zstd,compression-level=1,force-compression=true,ignore-error=true"
"""All steps are exported, in the bytes of the images (`bake.OUTPUT`). A failed export does not stop the build."""


@dataclass(frozen=True, kw_only=True)
class CacheRow:
    """Places of caches that one table of the file states."""

    read: tuple[str, ...] | None = None
    """Where caches are read; None: the table above decides."""
    write: str = ""
    """Where a cache is written, if the command line asks for it ('' : the table above decides)."""


@dataclass(frozen=True, kw_only=True)
class CacheRows:
    """The caches that the file of this machine states."""

    default: CacheRow = field(default_factory=CacheRow)
    images: Mapping[str, CacheRow] = field(default_factory=dict)
    platforms: Mapping[tuple[str, Platform], CacheRow] = field(default_factory=dict)

    def read_places(self, image: str, platform: Platform) -> tuple[str, ...]:
        """Return where the caches of an image on a platform are read."""
        return next((row.read for row in self._rows(image, platform) if row.read is not None), ())

    def write_place(self, image: str, platform: Platform) -> str:
        """Return where the cache of an image on a platform is written ('' for nowhere)."""
        return next((row.write for row in self._rows(image, platform) if row.write), "")

    def _rows(self, image: str, platform: Platform) -> tuple[CacheRow, ...]:
        """Return the rows that apply to an image on a platform, the most specific first."""
        return (self.platforms.get((image, platform), CacheRow()), self.images.get(image, CacheRow()), self.default)


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The cache of one image."""

    place: str
    """HOST/NAME of a registry, or the path of a folder."""
    name: str
    """Its tag in the registry, or its subfolder."""

    @property
    def local(self) -> bool:
        """Return whether it is in a folder of this machine."""
        return self.place.startswith("/")

    @property
    def reference(self) -> str:
        """Return its tag with the repository, or its path."""
        return f"{self.place}/{self.name}" if self.local else f"{self.place}:{self.name}"

    @property
    def source(self) -> str:
        """Return its entry of `cache-from`."""
        return self._attributes("src")

    @property
    def target(self) -> str:
        """Return its entry of `cache-to`."""
        return f"{self._attributes('dest')},{EXPORT_OPTIONS}"

    def _attributes(self, folder_key: str) -> str:
        if self.local:
            return spelling.attributes(type="local", **{folder_key: self.reference})
        return spelling.attributes(type="registry", ref=self.reference)


@dataclass(frozen=True, kw_only=True)
class Caches:
    """Caches that a build reads and writes."""

    read: tuple[Cache, ...] = ()
    write: Mapping[str, Cache] = field(default_factory=dict)
    """Image -> the cache that its build writes."""


def load(environment: Mapping[str, str]) -> CacheRows:
    """Read the file of this machine that states caches; without a file there are none.

    Raises:
        UsageError: the file that the variable names is missing, or its content is wrong.
    """
    table = user_config.read(environment, VARIABLE, USER_FILE)
    if table is None:
        return CacheRows()
    images, platforms = {}, {}
    for name, row in table.tables("images", optional=True).items():
        images[name] = _row(row)
        for platform in Platform:
            if platform.value in row.keys_left():
                platform_row = row.table(platform.value)
                platforms[name, platform] = _row(platform_row)
                platform_row.refuse_the_rest()
        row.refuse_the_rest()
    default = _row(table)
    table.refuse_the_rest()
    return CacheRows(default=default, images=images, platforms=platforms)


def _row(table: Table) -> CacheRow:
    read = table.strings("from") if "from" in table.keys_left() else None
    write = table.string("to", optional=True)
    return CacheRow(read=None if read is None else tuple(map(_absolute, read)), write=_absolute(write) if write else "")


def _absolute(place: str) -> str:
    return str(Path(place).expanduser().absolute()) if place.startswith(FOLDER_BEGINNINGS) else place


def caches_for(request: Request, rows: CacheRows, read: Iterable[str] = (), write: str = "") -> Caches:
    """Return the caches of a request.

    Args:
        request: the request that is built.
        rows: the file of this machine.
        read: the places of `--cache-from`, which replace those of the file; `none` reads none.
        write: the place of `--cache-to`: '' writes none, `FROM_FILE` writes where the file states.

    Raises:
        UsageError: an option is not a place for a cache, or the file does not state where to write.
    """
    places = tuple(read)
    _check_places(place for place in (*places, write) if place not in ("", NONE, FROM_FILE))
    sources = [
        Cache(place=place, name=name)
        for image in request.images
        for place in _read_places(request, rows, image, places)
        for name in candidate_names(request, image)
    ]
    targets = {
        image.name: Cache(place=place, name=cache_name(image, request.stage, request.bases, request.platforms))
        for image in request.images
        if (place := _write_place(request, rows, image, write))
    }
    return Caches(read=tuple(dict.fromkeys(sources)), write=targets)


def _check_places(places: Iterable[str]) -> None:
    for place in places:
        from dynamo_containers.facts.data_types import CACHE_PLACE  # only these options need it

        if not CACHE_PLACE.accepts(place):
            message = f'"{place}" is not a place for a build cache. Allowed is {CACHE_PLACE.allowed}, or "{NONE}".'
            raise UsageError(message)


def _read_places(request: Request, rows: CacheRows, image: Image, options: tuple[str, ...]) -> tuple[str, ...]:
    if options:
        return tuple(_absolute(option) for option in options if option != NONE)
    places = (place for platform in request.platforms for place in rows.read_places(image.name, platform))
    return tuple(dict.fromkeys(places))


def _write_place(request: Request, rows: CacheRows, image: Image, option: str) -> str:
    if option in ("", NONE):
        return ""
    if option != FROM_FILE:
        return _absolute(option)
    places = {rows.write_place(image.name, platform) for platform in request.platforms}
    if len(places) > 1 or not any(places):
        several = ("a different `to` for each platform", "build one platform at a time")
        problem, remedy = several if len(places) > 1 else ("no `to` for it", "add `to`")
        message = (
            f"Where to write the build cache of {image.name} is unknown: {USER_FILE} states {problem}.\n"
            f"Name a place (--cache-to HOST/NAME), or {remedy}: docs/how-to/caches.md"
        )
        raise UsageError(message)
    return places.pop()


def candidate_names(request: Request, image: Image) -> Iterator[str]:
    """Return the names of the caches that may have steps of an image, the likeliest first.

    Caches of its lower stages, and of builds for more platforms or fewer, have most of the same steps.
    """
    order = list(Stage)
    stages = [stage for stage in image.stages if order.index(stage) <= order.index(request.stage)]
    for stage in reversed(stages):
        if stage is not Stage.BACKEND or request.stage is Stage.BACKEND:
            for platforms in _platform_sets(request.platforms):
                yield cache_name(image, stage, request.bases, platforms)


def _platform_sets(platforms: tuple[Platform, ...]) -> list[tuple[Platform, ...]]:
    """Return the sets of platforms that have one of these, their own first."""
    sizes = range(1, len(Platform) + 1)
    overlapping = [
        platform_set
        for size in sizes
        for platform_set in combinations(Platform, size)
        if set(platform_set) & set(platforms)
    ]
    return sorted(overlapping, key=lambda platform_set: platform_set != platforms)


def cache_name(image: Image, stage: Stage, bases: Bases, platforms: tuple[Platform, ...]) -> str:
    """Return the name of a cache."""
    return "-".join((image.name, stage.value, bases.name, *(platform.arch for platform in platforms)))


def with_caches(targets: Targets, images: Mapping[str, str], caches: Caches) -> Targets:
    """Return targets with their caches; without caches the targets are unchanged.

    Every target reads: bake queries the caches of each, even of those that are only linked. Images alone write, and
    their caches have the steps of all their targets.

    Args:
        targets: the targets of a bake document.
        images: image -> its target.
        caches: the caches that are read and written.
    """
    sources = tuple(cache.source for cache in caches.read)
    exports = {images[image]: (cache.target,) for image, cache in caches.write.items()}
    return {
        name: replace(target, cache_from=sources, cache_to=exports.get(name, ())) for name, target in targets.items()
    }


def access_flags(caches: Caches) -> tuple[str, ...]:
    """Return the flags that allow bake to read and write the folders of caches."""
    reads = dict.fromkeys(f"--allow=fs.read={cache.place}" for cache in caches.read if cache.local)
    writes = dict.fromkeys(f"--allow=fs.write={cache.place}" for cache in caches.write.values() if cache.local)
    return (*reads, *writes)
