"""One .deb or RPM, by content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from dynamo_containers.value_types import (
    ARCHIVE_PATH,
    LONGEST,
    PACKAGE_NAME,
    SHA256,
    SIZE,
    VERSION,
    TextType,
    check_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_containers.value_types import IntegerType

FIELDS: dict[str, TextType | IntegerType] = {
    "name": PACKAGE_NAME,
    "version": VERSION,
    "architecture": PACKAGE_NAME,
    "archive": ARCHIVE_PATH,
    "path": ARCHIVE_PATH,
    "size": SIZE,
    "sha256": SHA256,
}


@dataclass(frozen=True, kw_only=True, order=True)
class Package:
    """One .deb or RPM, by content. `path` is relative to the root of `archive`, such as `debian` or `ubuntu`.

    Raises:
        InvalidValueError: a field has a value of another type, whoever states it: a lock, apt, dnf.
    """

    name: str
    version: str
    architecture: str
    archive: str
    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        """Check the types of its values; a lock has hundreds of packages, so all texts are matched at once."""
        texts = (self.name, self.version, self.architecture, self.archive, self.path, self.sha256)
        if not (_are_typical(texts) and SIZE.accepts(self.size)):
            check_fields(self, FIELDS)


def _are_typical(texts: tuple[str, ...]) -> bool:
    """Return whether texts are surely of their types; False if in doubt."""
    try:
        text = "\n".join(texts)  # no type allows a newline
    except TypeError:  # JSON may have a number in place of a text
        return False
    return len(text) <= LONGEST and _typical()(text) is not None


@cache
def _typical() -> Callable[[str], object]:
    texts = (kind.body for kind in FIELDS.values() if isinstance(kind, TextType))
    return re.compile("\n".join(f"(?:{body})" for body in texts)).fullmatch
