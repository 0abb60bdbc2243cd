"""Update of contents/files.jsonl and contents/sboms: content of each wheel and release archive in an image.

A sha256 that was read once is not read again. Of a wheel only its table of contents and metadata are received.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader, progress, state
from dynamo_containers.errors import DownloadError, LockError, UnreachableError
from dynamo_containers.facts.locks import content_changes, contents
from dynamo_containers.facts.locks.contents import CONTENTS_FILE, SBOMS, Contents, FileContents, ListedComponent
from dynamo_containers.facts.locks.python_lock import locked_for_images
from dynamo_containers.facts.locks.requirements import read_files_if_there, read_if_valid
from dynamo_containers.facts.pins import ArchivePin
from dynamo_containers.process import Command, Document, Plan, execute, write
from dynamo_containers.upstream.unreachable import UnreachableInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.content_changes import ContentChange
    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.facts.locks.requirements import LockedPackage

LIBRARY = "pkg:generic/"
"""The beginning of the package URL of a shared library."""
QUERY_FILE, ANSWERS_FILE = f"{state.LOCKING}/contents.query.json", f"{state.LOCKING}/contents.answers.json"


@dataclass(frozen=True, kw_only=True)
class ContentsUpdate:
    """Result of an update."""

    unreachable: tuple[UnreachableInput, ...]
    """Files that could not be read."""
    files: tuple[str, ...]
    """Files of the checkout that were added, changed or removed."""
    changes: tuple[ContentChange, ...]
    """What is new in packages that moved."""
    refused: tuple[str, ...]
    """Packages with suspicious content that no row accepts."""


def update(catalogue: Catalogue) -> ContentsUpdate:
    """Write the contents of all locked files.

    Raises:
        LockError: a wheel is not what it says; the contents of all others are written.
        CommandFailedError: the query could not be run.
    """
    folder = catalogue.folder
    known = _known(folder)
    answers = Answers(folder, known)
    missing: dict[LockFile, list[str]] = {}
    for lock in locked_for_images(catalogue):
        unread = answers.keep(lock, _packages(folder, lock))
        if unread:
            missing[lock] = unread
    for indexes in sorted({lock.indexes for lock in missing}):
        group = {lock: pins for lock, pins in missing.items() if lock.indexes == indexes}
        answers.add(_query(folder, group, sorted(file.sha256 for file in known if _is_complete(file))), group)
    _add_binaries(catalogue, answers)
    files = _write(folder, answers)
    if answers.faults:
        message = "\n".join(answers.faults)
        raise LockError(message)
    refused = content_changes.not_accepted(answers.files.values(), catalogue.accepted_content)
    return ContentsUpdate(
        unreachable=tuple(answers.unreachable), files=files, changes=tuple(answers.changes), refused=refused
    )


def _is_complete(file: FileContents) -> bool:
    """Return whether everything that is compared was read; before, only licences and components were."""
    return bool(file.unpacked) or not file.file.endswith(".whl")


def _facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return key -> value of what is compared; a release archive has none of it."""
    return {key: contents.with_tuple(content[key]) for key in contents.FACTS if key in content}


def _library_names(purls: Iterable[str]) -> set[str]:
    return {purl.removeprefix(LIBRARY).partition("@")[0] for purl in purls if purl.startswith(LIBRARY)}


def _packages(folder: Path, lock: LockFile) -> tuple[LockedPackage, ...]:
    texts = read_files_if_there(folder, [lock.path])
    return read_if_valid(texts[lock.path]) if texts else ()


class Answers:
    """Files as far as they are read, with the texts of their SBOMs."""

    def __init__(self, folder: Path, before: Iterable[FileContents]) -> None:
        """Start from the files that were read before."""
        old = tuple(before)
        known = [file for file in old if _is_complete(file)]
        self._folder = folder
        self._before: dict[tuple[str, str], list[FileContents]] = {}
        for file in old:
            for target in file.targets:
                self._before.setdefault((target, file.name), []).append(file)
        self._known = {(file.name, file.sha256): file for file in known}
        self.changes: list[ContentChange] = []
        self._by_pin = Contents(self._known.values())
        self.files: dict[tuple[str, str], FileContents] = {}
        self.sboms: dict[str, str] = {}
        self.unreachable: list[UnreachableInput] = []
        self.faults: list[str] = []

    def keep(self, lock: LockFile, packages: Iterable[LockedPackage]) -> list[str]:
        """Keep what is known of a lock's packages, and return the pins of the others."""
        target, unread = contents.target_name(lock.target), []
        for package in packages:
            file = self._by_pin.of(target, package.name, package.version)
            if file and f"sha256:{file.sha256}" in package.hashes:
                self._add(file, (target,))
            else:
                unread.append(package.pin)
        return unread

    def _add(self, file: FileContents, targets: Iterable[str]) -> None:
        key = file.name, file.sha256
        others = self.files[key].targets if key in self.files else ()
        self.files[key] = replace(file, targets=tuple(sorted({*targets, *others})))

    def add(self, rows: Iterable[dict[str, Any]] | str, group: Iterable[LockFile]) -> None:
        """Add the answers about the files of locks, or the reason why there are none."""
        if isinstance(rows, str):
            self.unreachable += [
                UnreachableInput(name=f"contents of {lock.path}", reason=rows, pinned="not read") for lock in group
            ]
            return
        for row in rows:
            self.add_row(row)

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add one file; `content` is absent of one that is known, and of one that could not be read."""
        key = row["name"], row["sha256"]
        content = row.get("content")
        if "fault" in row:
            self.faults.append(row["fault"])
        elif "unreachable" in row:
            name = f"content of {row['name']} ({row['file']})"
            self.unreachable.append(UnreachableInput(name=name, reason=row["unreachable"], pinned="not read"))
        elif content is None:
            if key in self._known:
                self._add(self._known[key], row["targets"])
        else:
            components = [ListedComponent(**component) for component in content["components"]]
            file = FileContents(
                name=row["name"],
                version=row["version"],
                file=row["file"],
                sha256=row["sha256"],
                targets=(),
                license=content["license"],
                license_text=content["license_text"],
                sbom=self._sbom(row, components) if components else "",
            )
            file = replace(file, **_facts(content))
            file = self._compared(file, row["targets"], {component.purl for component in components})
            self._add(file, row["targets"])

    def _compared(self, file: FileContents, targets: Iterable[str], purls: Collection[str]) -> FileContents:
        """Compare a file with the one that the same target had, and return it with what is suspicious."""
        old = [row for target in targets for row in self._before.get((target, file.name), ())]
        has_moved = all(row.sha256 != file.sha256 for row in old)
        # A file that did not move is read again where earlier less was read: everything in it is new.
        before = next((row for row in old if has_moved and _is_complete(row)), None)
        old_purls = {component.purl for component in self._components(before)} if before else set()
        rows = content_changes.changes(before, file, (_library_names(old_purls), _library_names(purls)))
        self.changes += rows if has_moved and old else ()
        return replace(file, suspicious=tuple(row.detail for row in rows if row.suspicious))

    def _components(self, file: FileContents) -> tuple[ListedComponent, ...]:
        return contents.read_sbom(self._folder, file.sbom) if file.sbom else ()

    def knows(self, row: Mapping[str, Any]) -> bool:
        """Return whether a file need not be read."""
        return (row["name"], row["sha256"]) in self._known

    def _sbom(self, row: Mapping[str, Any], components: Iterable[ListedComponent]) -> str:
        text = contents.sbom_text(components)
        digest = hashlib.sha256(text.encode()).hexdigest()
        name = f"{row['name']}-{row['version']}-{digest[:8]}.txt"
        self.sboms[name] = text
        return name


def _known(folder: Path) -> tuple[FileContents, ...]:
    """Return the files that need not be read again; none of a damaged file, because it is written again."""
    try:
        old = contents.read(folder)
    except LockError:
        old = None
    files = old.files if old else ()
    return tuple(file for file in files if not file.sbom or (folder / SBOMS / file.sbom).is_file())


def _query(folder: Path, pins: Mapping[LockFile, list[str]], known: list[str]) -> list[dict[str, Any]] | str:
    """Return the rows about the files of pins, or the reason why the index did not answer."""
    start = time.monotonic()
    try:
        execute(query_plan(folder, pins, known))
    except (UnreachableError, DownloadError) as error:
        return str(error).partition("\n")[0]
    rows: list[dict[str, Any]] = file_reader.parse_json(file_reader.read_text(folder / ANSWERS_FILE, ANSWERS_FILE))
    count = sum("content" in row for row in rows)
    progress.say(f"  {CONTENTS_FILE}: {count} files read, {time.monotonic() - start:.0f} s")
    return rows


def query_plan(folder: Path, pins: Mapping[LockFile, list[str]], known: list[str]) -> Plan:
    """Return the plan that reads files of locks and leaves their contents in a file.

    Args:
        folder: the checkout.
        pins: lock -> the pins whose files are read; the locks have the same indexes.
        known: sha256 of the files that need not be read.
    """
    names = {lock.path: pins_of_lock for lock, pins_of_lock in pins.items()}
    query = json.dumps({"pins": names, "known": known}, indent=2) + "\n"
    arguments = ("--folder", str(folder), str(folder / QUERY_FILE), "--answers", str(folder / ANSWERS_FILE))
    command = Command(
        argv=(sys.executable, "-m", "dynamo_containers.lock.python.content_query", *arguments),
        env={"PYTHONPATH": str(folder)},  # as in schedule.compile_command
        reports_error_kind=True,
        quiet=True,
        title=f"reading wheels for {CONTENTS_FILE}",
        hint=f"The locks are updated; {CONTENTS_FILE} was not changed. Update it with: {contents.COMMAND}",
    )
    return Plan(documents=(Document(path=folder / QUERY_FILE, text=query),), commands=(command,))


def _add_binaries(catalogue: Catalogue, answers: Answers) -> None:
    """Add the release archives of binaries; those out of .deb packages are listed as these packages."""
    archives = {key: pin for key, pin in catalogue.pins.programs.items() if isinstance(pin, ArchivePin)}
    for (bases, name, platform), pin in archives.items():
        if name not in catalogue.bases[bases].programs:
            continue  # a compiler, which is in no image
        row: dict[str, Any] = {
            "name": name,
            "version": pin.version,
            "file": pin.url.rpartition("/")[2],
            "sha256": pin.sha256,
            "targets": [contents.binary_target(bases, platform)],
        }
        answers.add_row({**row, **({} if answers.knows(row) else _binary(catalogue, (bases, name, platform), pin))})


def _binary(catalogue: Catalogue, key: tuple[str, str, Any], pin: ArchivePin) -> dict[str, Any]:
    """Return the content of a release archive: the modules of its Go binaries; or why it could not be read."""
    from dynamo_containers.prepare.contents.go_build_info import go_modules
    from dynamo_containers.upstream import release_archive

    bases, name, platform = key
    members = catalogue.bases[bases].programs[name].members(platform)
    try:
        archive = release_archive.fetch(catalogue.folder, pin)
    except (DownloadError, LockError) as error:
        return {"unreachable": str(error).partition("\n")[0]}
    with TemporaryDirectory() as temporary:
        release_archive.unpack(archive, pin.url, tuple(members), Path(temporary))
        modules = {module for member in members for module in go_modules(Path(temporary) / member)}
    rows = [{"purl": module.purl, "license": module.license} for module in sorted(modules)]
    return {"content": {"license": "", "license_text": "", "components": rows}}


def _write(folder: Path, answers: Answers) -> tuple[str, ...]:
    """Write what was read, remove the SBOMs that no file has any more, and return the paths of what changed."""
    texts = {f"{SBOMS}/{name}": text for name, text in answers.sboms.items()}
    texts[CONTENTS_FILE] = contents.render(answers.files.values())
    changed = [path for path, text in texts.items() if file_reader.cached_text(folder / path) != text]
    for path in changed:
        write(Document(path=folder / path, text=texts[path]))
    kept = {f"{SBOMS}/{file.sbom}" for file in answers.files.values()}
    removed = [f"{SBOMS}/{path.name}" for path in (folder / SBOMS).glob("*.txt") if f"{SBOMS}/{path.name}" not in kept]
    for path in removed:
        (folder / path).unlink()
    return tuple(sorted((*changed, *removed)))
