"""Detection of an `invoke lock` that died while it replaced its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers import transaction
from dynamo_containers.errors import LockError

if TYPE_CHECKING:
    from pathlib import Path

JOURNAL = "constraints/.journal.json"
"""The journal of the replacement (transaction.py); beside the locks, so that it is not lost with .build."""
COMMAND = "invoke lock --only python"
"""It completes the interrupted command first. Where the Python locks are current, it then asks nobody."""


def reason(folder: Path) -> str:
    """Return why no lock of a checkout can be trusted; '' where no command died while it replaced them."""
    if not transaction.is_pending(folder / JOURNAL):
        return ""
    return f"An interrupted `invoke lock` replaced only a part of its files.\nComplete it with: {COMMAND}"


def check(folder: Path) -> None:
    """Refuse locks of which only a part was replaced.

    Raises:
        LockError: with the command that completes the replacement.
    """
    if fault := reason(folder):
        raise LockError(fault)
