"""Selection of locks by the options of `invoke lock`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts.catalogue import InstallFrom
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.kinds import LockKind, parse_kinds
from dynamo_containers.platforms import Platform, parse_platforms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.python_lock import LockFile


def locked_platforms(catalogue: Catalogue, bases: str) -> tuple[Platform, ...]:
    """Return the platforms that bases are locked for: those of the images on them, or all where there is no image."""
    platforms = {
        platform for image in catalogue.images.values() if bases in image.bases for platform in image.platforms
    }
    return tuple(sorted(platforms or Platform, key=lambda platform: platform.value))


@dataclass(frozen=True, kw_only=True)
class LockSelection:
    """Options that select locks: kinds, images, bases and platforms; an empty option selects all of them."""

    kinds: Collection[LockKind] = tuple(LockKind)
    images: Collection[str] = ()
    bases: Collection[str] = ()
    platforms: Collection[str] = ()

    @property
    def is_partial(self) -> bool:
        """Return whether images, bases or platforms are left out."""
        return bool(self.images or self.bases or self.platforms)

    def targets(self, catalogue: Catalogue) -> tuple[tuple[Bases, Platform], ...]:
        """Return the selected bases and platforms: with an image, those that it is made for.

        Raises:
            UsageError: an option names something unknown, or no image has all of them together.
        """
        for option, names, choices in (
            ("image", self.images, catalogue.images),
            ("bases", self.bases, catalogue.bases),
        ):
            for name in names:
                if name not in choices:
                    raise unknown_name(option, name, choices)
        platforms = parse_platforms(self.platforms) if self.platforms else tuple(Platform)
        targets = dict.fromkeys(
            (bases, platform)
            for bases, platform in self._image_targets(catalogue)
            if (not self.bases or bases in self.bases) and platform in platforms
        )
        if not targets:
            message = "No image is made for these bases and platforms together, so there is nothing to lock."
            raise UsageError(message)
        return tuple((catalogue.bases[bases], platform) for bases, platform in targets)

    def _image_targets(self, catalogue: Catalogue) -> Iterator[tuple[str, Platform]]:
        for bases in catalogue.bases:
            if not self.images:
                yield from ((bases, platform) for platform in locked_platforms(catalogue, bases))
            for name in self.images:
                image = catalogue.images[name]
                yield from ((bases, platform) for platform in image.platforms if bases in image.bases)

    def engine_images(self, catalogue: Catalogue) -> tuple[Image, ...]:
        """Return the selected images that are based on the published image of an engine."""
        bases_names = {bases.name for bases, _ in self.targets(catalogue)}
        return tuple(
            image
            for image in catalogue.images.values()
            if image.install_from is InstallFrom.IMAGE
            and bases_names & set(image.bases)
            and (not self.images or image.name in self.images)
        )

    def os_locks(self, catalogue: Catalogue) -> tuple[OsLock, ...]:
        """Return the selected locks of OS packages; none where their kind is not selected."""
        if LockKind.OS not in self.kinds:
            return ()
        targets = [(bases.name, platform) for bases, platform in self.targets(catalogue)]
        return tuple(lock for lock in os_locks(catalogue) if (lock.bases.name, lock.platform) in targets)

    def python_locks(self, catalogue: Catalogue) -> tuple[LockFile, ...]:
        """Return the selected Python locks; none where their kind is not selected."""
        if LockKind.PYTHON not in self.kinds:
            return ()
        from dynamo_containers.lock.python import schedule as python_schedule

        return python_schedule.select(catalogue, self.images, self.bases, self.platforms)


ALL_LOCKS = LockSelection()


def select(
    only: Collection[str] = (),
    *,
    images: Collection[str] = (),
    bases: Collection[str] = (),
    platforms: Collection[str] = (),
) -> LockSelection:
    """Return the selection for the values of `--only`, `--image`, `--bases` and `--platform`.

    Raises:
        UsageError: `only` names an unknown kind of lock.
    """
    return LockSelection(kinds=parse_kinds(only), images=images, bases=bases, platforms=platforms)


def root_locks(catalogue: Catalogue) -> tuple[OsLock, ...]:
    """Return the lock of every root image that is bootstrapped."""
    return tuple(
        os_lock.OsLock(bases=bases, role=role, platform=platform)
        for bases in catalogue.bases.values()
        for role in bases.bootstrapped_roots
        for platform in locked_platforms(catalogue, bases.name)
    )


def os_locks(catalogue: Catalogue) -> tuple[OsLock, ...]:
    """Return every lock of OS packages that must exist: of root images first, then of the sets on them."""
    roots = root_locks(catalogue)
    extended = tuple(
        os_lock.OsLock(bases=bases, role=role, platform=platform)
        for bases in catalogue.bases.values()
        for role in bases.extended_roots
        for platform in locked_platforms(catalogue, bases.name)
    )
    rpm_roots = (
        os_lock.OsLock(bases=bases, role=role, platform=platform)
        for bases in catalogue.bases.values()
        for role in bases.repositories
        for platform in locked_platforms(catalogue, bases.name)
    )
    return (
        *roots,
        *(lock for root in roots for lock in root.sets),
        *(lock for root in extended for lock in (root, *root.sets)),
        *(lock for root in rpm_roots for lock in root.sets),
    )
