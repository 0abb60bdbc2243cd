"""Copy of the locks and pins in which `invoke lock` works; the checkout gets all changes at the end, or none.

The copy has the layout of a checkout, because every lock is made from those below it. See docs/adr/0038.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from dynamo_containers import file_lock, file_reader, progress, state, transaction
from dynamo_containers.errors import BusyError
from dynamo_containers.facts.catalogue import IMAGES_FILE
from dynamo_containers.facts.locks.interrupted import JOURNAL
from dynamo_containers.facts.pins import PINS_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONSTRAINTS = "constraints"
REQUIREMENTS = "requirements"
PREFIX = "staged-"


@dataclass(frozen=True, kw_only=True)
class StagedLocks:
    """Locks and pins that are not written to the checkout yet."""

    checkout: Path
    folder: Path
    """A folder with the layout of a checkout; it has the locks, the pins and their hand-written inputs alone."""
    before: Mapping[str, str]
    """Path -> sha256 of each lock when the command began."""

    def commit(self) -> tuple[str, ...]:
        """Write every change to the checkout, all or none; return the paths of the files that changed.

        Raises:
            BusyError: a lock in the checkout was changed by something else in the meantime; nothing was written.
            NoSpaceError: the disk is full; nothing was written.
        """
        if foreign := _differences(self.before, _digests(self.checkout)):
            message = (
                f"Changed by something else while this command ran: {', '.join(foreign)}.\nRun the same command again."
            )
            raise BusyError(message)
        changed = _differences(self.before, _digests(self.folder))
        texts = {path: file_reader.read_text(self.folder / path) for path in changed}
        if texts:
            transaction.replace_all(self.checkout, self.checkout / JOURNAL, texts)
        return changed


@contextmanager
def staged_locks(checkout: Path) -> Iterator[StagedLocks]:
    """Copy the locks and pins of a checkout; one command at a time works on them.

    A transaction that an earlier command did not finish is completed first. The copy is removed when the block ends
    without an exception; otherwise it stays until the next command, for who wants to look at it.

    Raises:
        LockError: an unfinished transaction cannot be completed.
    """
    with file_lock.hold(checkout / state.LOCK_COMMAND, "another `invoke lock` of this checkout"):
        if completed := transaction.complete(checkout, checkout / JOURNAL):
            progress.say(f"Completed an interrupted `invoke lock`: {', '.join(completed)}")
        transaction.remove_leftovers(checkout / JOURNAL, (checkout / CONSTRAINTS, (checkout / PINS_FILE).parent))
        for old in (checkout / state.LOCKING).glob(f"{PREFIX}*"):
            rmtree(old, ignore_errors=True)
        folder = _copy(checkout)
        yield StagedLocks(checkout=checkout, folder=folder, before=_digests(checkout))
        rmtree(folder, ignore_errors=True)


def _copy(checkout: Path) -> Path:
    (checkout / state.LOCKING).mkdir(parents=True, exist_ok=True)
    # A new name each time: a child process that outlives its command must not write into the copy of the next one.
    folder = Path(mkdtemp(dir=checkout / state.LOCKING, prefix=PREFIX))
    for path in (IMAGES_FILE, REQUIREMENTS):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(checkout / path)
    (folder / CONSTRAINTS).mkdir()
    for path in _lock_files(checkout):
        copyfile(checkout / path, folder / path)
    return folder


def _lock_files(checkout: Path) -> tuple[str, ...]:
    files = (*(checkout / CONSTRAINTS).glob("[!.]*"), checkout / PINS_FILE)
    return tuple(str(file.relative_to(checkout)) for file in files if file.is_file())


def _digests(folder: Path) -> dict[str, str]:
    return {path: transaction.digest(folder / path) for path in _lock_files(folder)}


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)))
