"""Kinds of locks and pins, as `invoke lock --only` names them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from dynamo_containers.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Collection


class LockKind(StrEnum):
    """A kind of lock, in the order in which `invoke lock` updates them."""

    ARCHIVES = "archives"
    """Binaries out of packages and release archives, and the commits of git sources."""
    OS = "os"
    """OS packages of root images and of the sets on top of them."""
    IMAGES = "images"
    """Digests of root images."""
    PYTHON = "python"
    """Python packages."""
    CONTENTS = "contents"
    """What the files of Python packages and the release archives contain: licences, libraries, components."""


def parse_kinds(names: Collection[str]) -> tuple[LockKind, ...]:
    """Return the kinds that `--only` names, in their order; no name means every kind.

    Raises:
        UsageError: a name is unknown.
    """
    valid = [kind.value for kind in LockKind]
    for name in names:
        if name not in valid:
            kind = "kind of lock"
            raise unknown_name(kind, name, valid)
    return tuple(kind for kind in LockKind if not names or kind in names)
