"""What came out of asking for one kind of pin?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.upstream.unreachable import Unreached

Key = TypeVar("Key")
APin = TypeVar("APin")


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Key, APin]):
    """The pins as they are to be, what a person is to be told, and who could not be asked."""

    pins: Mapping[Key, APin]
    said: tuple[str, ...] = ()
    unreachable: tuple[Unreached, ...] = ()
