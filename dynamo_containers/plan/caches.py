"""Build caches: options, rows and a request become references for BuildKit.

A cache stands in a registry or a folder, with a name of its own for each image, stage, bases and platforms. Nothing of
the commit is in that name or in the key of a step (docs/how-to/caches.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import UsageError
from dynamo_containers.facts import user_config
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.platforms import Platform
from dynamo_containers.toml_table import wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.plan.request import Request
    from dynamo_containers.plan.target import Targets
    from dynamo_containers.toml_table import Table

VARIABLE, USER_FILE = user_config.CACHES
NONE = "none"
"""The word that reads or writes no cache, whatever the rows say."""
BY_ROW = "by row"
"""What `--cache-to` without a word means: where the rows say."""
REPOSITORY = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
"""HOST[:PORT]/NAME without a tag (https://pkg.go.dev/github.com/distribution/reference)."""
FOLDER_BEGINNINGS = ("/", "./", "../", "~")
ALLOWED = '"HOST[:PORT]/NAME" of a registry, without a tag, or the path of a folder that begins with / or ./'
WRITTEN = "mode=max,compression=zstd,compression-level=1,force-compression=true,ignore-error=true"
"""Every step and not the last one's layers alone, in the bytes of the images (`build.OUTPUT`); the build goes on."""


@dataclass(frozen=True, kw_only=True)
class CacheRow:
    """What a table says of caches."""

    read: tuple[str, ...] | None = None
    """Where they are read; None: the row above decides."""
    write: str = ""
    """Where they are written when that is asked for ('' : the row above decides)."""


@dataclass(frozen=True, kw_only=True)
class CacheRows:
    """The caches of this machine."""

    every: CacheRow = field(default_factory=CacheRow)
    images: Mapping[str, CacheRow] = field(default_factory=dict)
    platforms: Mapping[tuple[str, Platform], CacheRow] = field(default_factory=dict)

    def of(self, image: str, platform: Platform) -> Iterator[CacheRow]:
        """Return the rows that are about an image on a platform, the nearest first."""
        yield self.platforms.get((image, platform), CacheRow())
        yield self.images.get(image, CacheRow())
        yield self.every


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The cache of one image, as BuildKit names it."""

    place: str
    """The registry's repository, or the folder, that it is in."""
    name: str
    """Its tag, or the folder below."""

    @property
    def local(self) -> bool:
        """Say whether it is in a folder of this machine."""
        return self.place.startswith("/")

    @property
    def reference(self) -> str:
        """Return where it is."""
        return f"{self.place}/{self.name}" if self.local else f"{self.place}:{self.name}"

    @property
    def source(self) -> str:
        """Return it as an entry of `cache-from`."""
        return f"type=local,src={self.reference}" if self.local else f"type=registry,ref={self.reference}"

    @property
    def target(self) -> str:
        """Return it as an entry of `cache-to`."""
        where = f"type=local,dest={self.reference}" if self.local else f"type=registry,ref={self.reference}"
        return f"{where},{WRITTEN}"


@dataclass(frozen=True, kw_only=True)
class Caches:
    """What a build reads and writes."""

    read: tuple[Cache, ...] = ()
    write: Mapping[str, Cache] = field(default_factory=dict)
    """Image -> the cache that its build fills."""


def load(environment: Mapping[str, str]) -> CacheRows:
    """Return the caches that this machine's file says; none where there is no file.

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
                one = row.table(platform.value)
                platforms[name, platform] = _row(one)
                one.refuse_the_rest()
        row.refuse_the_rest()
    every = _row(table)
    table.refuse_the_rest()
    return CacheRows(every=every, images=images, platforms=platforms)


def _row(table: Table) -> CacheRow:
    read = table.strings("from") if "from" in table.keys_left() else None
    write = table.string("to", optional=True)
    for key, word in (*(("from", each) for each in read or ()), *([("to", write)] if write else [])):
        if not _fits(word):
            raise wrong(table.file, f"{table.path}.{key}".lstrip("."), f'"{word}"', ALLOWED)
    return CacheRow(read=None if read is None else tuple(map(_place, read)), write=_place(write) if write else "")


def _fits(word: str) -> bool:
    return word.startswith(FOLDER_BEGINNINGS) or REPOSITORY.fullmatch(word) is not None


def _place(word: str) -> str:
    return str(Path(word).expanduser().absolute()) if word.startswith(FOLDER_BEGINNINGS) else word


def caches_for(request: Request, rows: CacheRows, read: Iterable[str] = (), write: str = "") -> Caches:
    """Return the caches of a request.

    Args:
        request: what is built.
        rows: what this machine's file says.
        read: the words of `--cache-from`, which take the place of the rows'; `none` reads none.
        write: the word of `--cache-to`: '' writes none, `BY_ROW` writes where the rows say.

    Raises:
        UsageError: a word is no place for a cache, or no row says where to write.
    """
    words = tuple(read)
    for word in (*words, *([write] if write else [])):
        if word not in (NONE, BY_ROW) and not _fits(word):
            message = f'"{word}" is no place for a build cache. Allowed is {ALLOWED}, or "{NONE}".'
            raise UsageError(message)
    sources = [
        Cache(place=place, name=name)
        for image in request.images
        for place in _places(request, rows, image, words)
        for name in names(request, image)
    ]
    targets = {
        image.name: Cache(place=place, name=name_of(image, request.stage, request.bases, request.platforms))
        for image in request.images
        if (place := _written(request, rows, image, write))
    }
    return Caches(read=tuple(dict.fromkeys(sources)), write=targets)


def _places(request: Request, rows: CacheRows, image: Image, words: tuple[str, ...]) -> tuple[str, ...]:
    if words:
        return tuple(_place(word) for word in words if word != NONE)
    found = [
        next((row.read for row in rows.of(image.name, platform) if row.read is not None), ())
        for platform in request.platforms
    ]
    return tuple(dict.fromkeys(place for places in found for place in places))


def _written(request: Request, rows: CacheRows, image: Image, word: str) -> str:
    if word in ("", NONE):
        return ""
    if word != BY_ROW:
        return _place(word)
    found = {
        next((row.write for row in rows.of(image.name, platform) if row.write), "") for platform in request.platforms
    }
    if len(found) > 1 or not any(found):
        what = "differ for its platforms: build one at a time" if len(found) > 1 else "say none"
        message = (
            f"Where is the build cache of {image.name} to be written? The rows of {USER_FILE} {what}.\n"
            "Name a place: --cache-to HOST/NAME, or add `to` (docs/how-to/caches.md)."
        )
        raise UsageError(message)
    return found.pop()


def names(request: Request, image: Image) -> Iterator[str]:
    """Return the names of the caches that may have steps of an image, the likeliest first.

    Those of its lower stages, and those of builds for more platforms or fewer, have most of the same steps.
    """
    order = list(Stage)
    stages = [each for each in image.stages if order.index(each) <= order.index(request.stage)]
    for stage in reversed(stages):
        if stage is not Stage.BACKEND or request.stage is Stage.BACKEND:
            yield from (name_of(image, stage, request.bases, each) for each in _sets(request.platforms))


def _sets(platforms: tuple[Platform, ...]) -> list[tuple[Platform, ...]]:
    """Return the sets of platforms that have one of these, their own first."""
    every = [each for size in range(1, len(Platform) + 1) for each in combinations(Platform, size)]
    return sorted((each for each in every if set(each) & set(platforms)), key=lambda each: each != platforms)


def name_of(image: Image, stage: Stage, bases: Bases, platforms: tuple[Platform, ...]) -> str:
    """Return the name of a cache."""
    return "-".join((image.name, stage.value, bases.name, *(platform.arch for platform in platforms)))


def with_caches(targets: Targets, images: Mapping[str, str], caches: Caches) -> Targets:
    """Return targets with their caches; without any they stay as they are.

    Every target reads: bake queries each by itself, also those that are only linked. What is written is named at the
    images alone, and has all that they need.

    Args:
        targets: the targets of a bake document.
        images: image -> the target that makes it.
        caches: what is read and written.
    """
    sources = tuple(cache.source for cache in caches.read)
    written = {images[image]: (cache.target,) for image, cache in caches.write.items()}
    return {
        name: replace(target, cache_from=sources, cache_to=written.get(name, ())) for name, target in targets.items()
    }


def access_flags(caches: Caches) -> tuple[str, ...]:
    """Return the flags by which bake is allowed to read and write the folders of caches."""
    reads = dict.fromkeys(f"--allow=fs.read={cache.place}" for cache in caches.read if cache.local)
    writes = dict.fromkeys(f"--allow=fs.write={cache.place}" for cache in caches.write.values() if cache.local)
    return (*reads, *writes)
