"""Selection of locks by the options of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts.catalogue import InstallFrom
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.platforms import Platform, parse_platforms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.python_lock import LockFile

KINDS = ("archives", "os", "images", "python")


def kinds(words: Collection[str]) -> tuple[str, ...]:
    """Return which kinds of pin are meant; no word means all.

    Raises:
        UsageError: a word is no kind of pin.
    """
    for word in words:
        if word not in KINDS:
            what = "kind of pin"
            raise unknown_name(what, word, KINDS)
    return tuple(kind for kind in KINDS if not words or kind in words)


def platforms(catalogue: Catalogue, bases: str) -> tuple[Platform, ...]:
    """Return the platforms that these bases are pinned for: those of the images on them; all, where none is yet."""
    wanted = {platform for image in catalogue.images.values() if bases in image.bases for platform in image.platforms}
    return tuple(sorted(wanted or Platform, key=lambda platform: platform.value))


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is meant, in the words of the command line; no word means all."""

    images: Collection[str] = ()
    bases: Collection[str] = ()
    platforms: Collection[str] = ()

    @property
    def named(self) -> bool:
        """Say whether anything is left out."""
        return bool(self.images or self.bases or self.platforms)

    def targets(self, catalogue: Catalogue) -> tuple[tuple[Bases, Platform], ...]:
        """Return the bases and platforms that are meant: with an image, those that it is made for.

        Raises:
            UsageError: a word names nothing, or no image is all that they say.
        """
        for what, words, valid in (("image", self.images, catalogue.images), ("bases", self.bases, catalogue.bases)):
            for word in words:
                if word not in valid:
                    raise unknown_name(what, word, valid)
        on = parse_platforms(self.platforms) if self.platforms else tuple(Platform)
        wanted = dict.fromkeys(
            (bases, platform)
            for bases, platform in self._of_images(catalogue)
            if (not self.bases or bases in self.bases) and platform in on
        )
        if not wanted:
            message = "No image is made for these bases and platforms together, so there is nothing to lock."
            raise UsageError(message)
        return tuple((catalogue.bases[bases], platform) for bases, platform in wanted)

    def _of_images(self, catalogue: Catalogue) -> Iterator[tuple[str, Platform]]:
        for bases in catalogue.bases:
            if not self.images:
                yield from ((bases, platform) for platform in platforms(catalogue, bases))
            for name in self.images:
                image = catalogue.images[name]
                yield from ((bases, platform) for platform in image.platforms if bases in image.bases)

    def engine_images(self, catalogue: Catalogue) -> tuple[Image, ...]:
        """Return the images on the published image of an engine that are meant."""
        meant = {bases.name for bases, _ in self.targets(catalogue)}
        return tuple(
            image
            for image in catalogue.images.values()
            if image.install_from is InstallFrom.IMAGE
            and meant & set(image.bases)
            and (not self.images or image.name in self.images)
        )

    def os_locks(self, catalogue: Catalogue) -> tuple[OsLock, ...]:
        """Return the locks of OS packages that are meant."""
        meant = [(bases.name, platform) for bases, platform in self.targets(catalogue)]
        return tuple(lock for lock in os_locks(catalogue) if (lock.bases.name, lock.platform) in meant)

    def python_locks(self, catalogue: Catalogue) -> tuple[LockFile, ...]:
        """Return the Python locks that are meant."""
        from dynamo_containers.lock.python import schedule as python_schedule

        return python_schedule.asked(catalogue, self.images, self.bases, self.platforms)


EVERYTHING = Part()


def root_locks(catalogue: Catalogue) -> tuple[OsLock, ...]:
    """Return the lock of every root image that is bootstrapped."""
    return tuple(
        os_lock.OsLock(bases=bases, role=role, platform=platform)
        for bases in catalogue.bases.values()
        for role in bases.bootstrapped
        for platform in platforms(catalogue, bases.name)
    )


def os_locks(catalogue: Catalogue) -> tuple[OsLock, ...]:
    """Return every lock of OS packages that must exist: of root images, then of what is installed on them."""
    roots = root_locks(catalogue)
    extended = tuple(
        os_lock.OsLock(bases=bases, role=role, platform=platform)
        for bases in catalogue.bases.values()
        for role in bases.extended
        for platform in platforms(catalogue, bases.name)
    )
    of_rpms = (
        os_lock.OsLock(bases=bases, role=role, platform=platform)
        for bases in catalogue.bases.values()
        for role in bases.repositories
        for platform in platforms(catalogue, bases.name)
    )
    return (
        *roots,
        *(lock for root in roots for lock in root.sets),
        *(lock for root in extended for lock in (root, *root.sets)),
        *(lock for root in of_rpms for lock in root.sets),
    )
