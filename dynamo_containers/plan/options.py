"""Options of `invoke build.*`: which images are built from what, with which caches, and where they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - fields of dataclasses
from dataclasses import dataclass, field

DEFAULT_BASES = "debian"


@dataclass(frozen=True, kw_only=True)
class ImageSelection:
    """Which images are built, and from what."""

    images: Sequence[str] = ()
    """Their names; without any: every image that has the stage."""
    platforms: Sequence[str] = ()
    """What they are built for; without any: the platform of this machine."""
    bases: str = DEFAULT_BASES
    strict: bool = False
    """Makes bases strict that are not by themselves."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Project (`dynamo`) -> what its wheels are built from (`source_builds.select`); without a word: the index."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """With which caches images are built, and where they go."""

    cache_from: Sequence[str] = ()
    """Where caches are read (`caches.caches_for`)."""
    cache_to: str | bool = ""
    """Where they are written; True: where the rows of caches.toml say."""
    push: str = ""
    """The registry that the images go to; nothing: the engine's own store."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return them as the command line has them."""
        read = (argument for place in self.cache_from for argument in ("--cache-from", place))
        write = ("--cache-to",) if self.cache_to is True else ("--cache-to", self.cache_to) if self.cache_to else ()
        return (*read, *write, *(("--push", self.push) if self.push else ()))
