"""Pins of registries, release pages and git repositories, all queried at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers.facts import image_reference
from dynamo_containers.facts.pins import ENGINE_IMAGES
from dynamo_containers.lock import archives as lock_archives
from dynamo_containers.lock import git_sources
from dynamo_containers.lock import images as lock_images
from dynamo_containers.lock.selection import platforms
from dynamo_containers.upstream.registry import Client
from dynamo_containers.upstream.unreachable import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.pins import Pin, PinnedRoot, PinnedSource, Pins, ReleasePin
    from dynamo_containers.lock.selection import Part
    from dynamo_containers.platforms import Platform
    from dynamo_containers.upstream.unreachable import Unreached


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The pins with what was learnt, what a person is to be told, and who could not be asked."""

    pins: Pins
    said: tuple[str, ...]
    unreachable: tuple[Unreached, ...]


def refresh(catalogue: Catalogue, kinds: Collection[str], part: Part, old: Pins, *, upgrade_all: bool) -> Outside:
    """Ask for what is meant; everything else keeps its pin.

    Raises:
        LockError: somebody says that there is no such tag, digest, file or commit.
        UsageError: a release archive lacks a file that images.toml takes from it.
    """
    with ThreadPoolExecutor(3) as pool:
        roots = pool.submit(_roots, catalogue, part, old, asked="images" in kinds, upgrade_all=upgrade_all)
        programs = pool.submit(_programs, catalogue, part, old, asked="archives" in kinds)
        sources = pool.submit(_sources, catalogue, part, old, asked="archives" in kinds, upgrade_all=upgrade_all)
    images, archives, commits = roots.result(), programs.result(), sources.result()
    return Outside(
        pins=replace(
            old,
            roots={**old.roots, **images.pins},
            programs={**old.programs, **archives.pins},
            sources={**old.sources, **commits.pins},
        ),
        said=(*images.said, *archives.said, *commits.said),
        unreachable=(*images.unreachable, *archives.unreachable, *commits.unreachable),
    )


def _roots(
    catalogue: Catalogue, part: Part, old: Pins, *, asked: bool, upgrade_all: bool
) -> Outcome[tuple[str, str], PinnedRoot]:
    # For all its platforms, although one may be meant: a root image is pinned as a whole.
    rows = {
        (bases.name, role): lock_images.Row(
            bases=bases.name, role=role, root=root, platforms=platforms(catalogue, bases.name)
        )
        for bases, _ in part.targets(catalogue)
        for role, root in bases.pulled.items()
    }
    for image in part.engine_images(catalogue):
        key = ENGINE_IMAGES, image.name
        root = image_reference.engine_root(image)
        rows[key] = lock_images.Row(bases=key[0], role=key[1], root=root, platforms=image.platforms)
    if not asked or not rows:
        return Outcome(pins={})
    from dynamo_containers import engine

    client = Client(buildx=engine.client_buildx(catalogue.folder))
    return lock_images.refresh(client, rows.values(), old.roots, upgrade_all=upgrade_all)


def _programs(
    catalogue: Catalogue, part: Part, old: Pins, *, asked: bool
) -> Outcome[tuple[str, str, Platform], Pin | ReleasePin]:
    targets = part.targets(catalogue)
    return lock_archives.refresh(catalogue.folder, targets, old) if asked else Outcome(pins={})


def _sources(
    catalogue: Catalogue, part: Part, old: Pins, *, asked: bool, upgrade_all: bool
) -> Outcome[str, PinnedSource]:
    # They are of no image, bases or platform, so they are meant where none is named.
    if not asked or part.named:
        return Outcome(pins={})
    return git_sources.refresh(catalogue.sources, old.sources, upgrade_all=upgrade_all)
