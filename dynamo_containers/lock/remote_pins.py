"""Pins of root images, release archives and git sources, all queried in parallel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.pins import ENGINE_IMAGES
from dynamo_containers.lock import archives, git_sources, images
from dynamo_containers.lock.selection import locked_platforms
from dynamo_containers.upstream.registry import RegistryClient
from dynamo_containers.upstream.unreachable import RefreshResult

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.pins import ArchivePin, CommitPin, ImagePin, PackagePin, Pins
    from dynamo_containers.lock.selection import LockSelection
    from dynamo_containers.platforms import Platform
    from dynamo_containers.upstream.unreachable import UnreachableInput


@dataclass(frozen=True, kw_only=True)
class RemotePins:
    """Updated pins."""

    pins: Pins
    notes: tuple[str, ...]
    """New pins, and tags that moved since they were pinned."""
    unreachable: tuple[UnreachableInput, ...]
    """Inputs that could not be queried; their pins did not change."""


def update(catalogue: Catalogue, selection: LockSelection, old: Pins, *, upgrade_all: bool) -> RemotePins:
    """Query the selected inputs; the other pins do not change.

    Raises:
        LockError: a tag, digest, file or commit does not exist.
        UsageError: a release archive lacks a file that images.toml takes from it.
    """
    with progress.task("querying registries, release pages and git repositories"), ThreadPoolExecutor(3) as pool:
        root_query = pool.submit(_roots, catalogue, selection, old, upgrade_all=upgrade_all)
        program_query = pool.submit(_programs, catalogue, selection, old)
        source_query = pool.submit(_sources, catalogue, selection, old, upgrade_all=upgrade_all)
    roots, programs, sources = root_query.result(), program_query.result(), source_query.result()
    return RemotePins(
        pins=replace(
            old,
            roots={**old.roots, **roots.pins},
            programs={**old.programs, **programs.pins},
            sources={**old.sources, **sources.pins},
        ),
        notes=(*roots.messages, *programs.messages, *sources.messages),
        unreachable=(*roots.unreachable, *programs.unreachable, *sources.unreachable),
    )


def _roots(
    catalogue: Catalogue, selection: LockSelection, old: Pins, *, upgrade_all: bool
) -> RefreshResult[tuple[str, str], ImagePin]:
    if LockKind.IMAGES not in selection.kinds:
        return RefreshResult(pins={})
    # For all its platforms, even if one is selected: a root image is pinned completely.
    rows = {
        (bases.name, role): images.RegistryImage(
            bases=bases.name, role=role, root=root, platforms=locked_platforms(catalogue, bases.name)
        )
        for bases, _ in selection.targets(catalogue)
        for role, root in bases.registry_roots.items()
    }
    for image in selection.engine_images(catalogue):
        key = ENGINE_IMAGES, image.name
        root = image_reference.engine_root(image)
        rows[key] = images.RegistryImage(bases=key[0], role=key[1], root=root, platforms=image.platforms)
    if not rows:
        return RefreshResult(pins={})
    from dynamo_containers import engine

    client = RegistryClient(buildx=engine.client_buildx(catalogue.folder))
    return images.pin_images(client, rows.values(), old.roots, upgrade_all=upgrade_all)


def _programs(
    catalogue: Catalogue, selection: LockSelection, old: Pins
) -> RefreshResult[tuple[str, str, Platform], PackagePin | ArchivePin]:
    if LockKind.ARCHIVES not in selection.kinds:
        return RefreshResult(pins={})
    return archives.pin_archives(catalogue.folder, selection.targets(catalogue), old)


def _sources(
    catalogue: Catalogue, selection: LockSelection, old: Pins, *, upgrade_all: bool
) -> RefreshResult[str, CommitPin]:
    # A source has no image, bases or platform, so these options leave it out.
    if LockKind.ARCHIVES not in selection.kinds or selection.is_partial:
        return RefreshResult(pins={})
    return git_sources.pin_sources(catalogue.sources, old.sources, upgrade_all=upgrade_all)
