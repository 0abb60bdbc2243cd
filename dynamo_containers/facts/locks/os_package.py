"""One .deb or RPM, by content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.value_types import ARCHIVE_PATH, PACKAGE_NAME, SHA256, SIZE, VERSION, check_fields

if TYPE_CHECKING:
    from dynamo_containers.value_types import IntegerType, TextType

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
        """Check the types of its values."""
        check_fields(self, FIELDS)
