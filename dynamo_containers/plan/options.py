"""Options of `invoke build.*`: the selection of images, the caches, and the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - fields of dataclasses
from dataclasses import dataclass, field

DEFAULT_BASES = "debian"


@dataclass(frozen=True, kw_only=True)
class ImageSelection:
    """Selection of images, and of their bases and sources."""

    images: Sequence[str] = ()
    """Their names; default: every image with the stage."""
    platforms: Sequence[str] = ()
    """Their platforms; default: the platform of this machine."""
    bases: str = DEFAULT_BASES
    strict: bool = False
    """Whether bases are strict that are not strict by default."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Project (`dynamo`) -> the source of its wheels (`source_builds.select`); default: the index."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Caches of a build, and the registry that its images are pushed to."""

    cache_from: Sequence[str] = ()
    """The places that caches are read from (`caches.caches_for`)."""
    cache_to: str | bool = ""
    """The place that they are written to; True: the place that caches.toml states."""
    push: str = ""
    """The registry that the images are pushed to; '' keeps them in the engine's store."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the options as arguments of the command line."""
        read = (argument for place in self.cache_from for argument in ("--cache-from", place))
        write = ("--cache-to",) if self.cache_to is True else ("--cache-to", self.cache_to) if self.cache_to else ()
        return (*read, *write, *(("--push", self.push) if self.push else ()))
