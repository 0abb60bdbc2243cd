"""Contents of the locked files: licence, bundled libraries and components of each wheel and release archive.

`invoke lock` writes them (lock/contents.py) as facts about a sha256, whose bytes never change. A file has a line in
contents/files.jsonl. What it is made of is a list of package URLs in contents/sboms, which files of the same
content share: the components of its SBOMs, the modules of a Go binary, and the shared libraries that it brings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dynamo_containers.facts.locks.python_lock import LockTarget
    from dynamo_containers.platforms import Platform

CONTENTS_FILE = "contents/files.jsonl"
SBOMS = "contents/sboms"
COMMAND = "invoke lock --only contents"
AUTHOR = file_reader.tool(COMMAND)
FACTS = ("unpacked", "native", "startup", "scripts", "suspicious")
"""Keys of what `content_changes` compares; of a wheel."""
FIELDS = ("name", "version", "file", "sha256", "targets", "license", "license_text", "sbom", *FACTS)
"""Keys of a line, in their order; an empty one is absent."""


@dataclass(frozen=True, kw_only=True)
class FileContents:
    """Content of one wheel, source archive or release archive."""

    name: str
    version: str
    file: str
    """Its name."""
    sha256: str
    targets: tuple[str, ...]
    """The targets of locks that download it, such as `debian-amd64-2.36`; not the files of other platforms."""
    license: str = ""
    """SPDX expression; '' where its metadata states none."""
    license_text: str = ""
    """What its metadata says in place of an SPDX expression."""
    sbom: str = ""
    """Name of the file in contents/sboms with the components that it is made of, and the libraries that it brings;
    '' for none."""
    unpacked: int = 0
    """Bytes of all files of a wheel."""
    native: int = 0
    """The number of binaries and libraries in a wheel."""
    startup: tuple[str, ...] = ()
    """The `.pth` files of a wheel, which each start of Python reads."""
    scripts: tuple[str, ...] = ()
    """The commands that a wheel installs."""
    suspicious: tuple[str, ...] = ()
    """What was new and suspicious when the package moved to this file; it must be accepted by name."""

    @property
    def pin(self) -> str:
        """Return the pin of a lock that has this file."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, kw_only=True, order=True)
class ListedComponent:
    """A line of an SBOM: a package that was compiled into a file, or copied into it."""

    purl: str
    license: str = ""
    """SPDX expression; '' where the SBOM states none."""


def target_name(target: LockTarget) -> str:
    """Return the name of a lock's target; locks of the same target download the same file of a release."""
    return f"{target.bases}-{target.platform.arch}-{target.glibc}"


def binary_target(bases: str, platform: Platform) -> str:
    """Return the name of the target of a release archive."""
    return f"{bases}-{platform.arch}"


class Contents:
    """The contents of all locked files."""

    def __init__(self, files: Iterable[FileContents]) -> None:
        """Index the files by target and pin."""
        self.files = tuple(files)
        self._by_pin = {(target, file.pin): file for file in self.files for target in file.targets}

    def of(self, target: str, name: str, version: str) -> FileContents | None:
        """Return the file that a target downloads for a release; None where it was never read."""
        return self._by_pin.get((target, f"{name}=={version}"))


def read(folder: Path) -> Contents | None:
    """Return the contents of the locked files; None where they were never read.

    Raises:
        LockError: the file is damaged.
    """
    text = file_reader.read_text_if_there(folder / CONTENTS_FILE, CONTENTS_FILE, AUTHOR)
    return None if text is None else Contents(parse(text))


def parse(text: str) -> tuple[FileContents, ...]:
    """Return the files of the text.

    Raises:
        LockError: a line is not a file.
    """
    return tuple(_file(line, number) for number, line in enumerate(text.splitlines(), 1))


def _file(line: str, number: int) -> FileContents:
    try:
        row = file_reader.parse_json(line)
        values: dict[str, Any] = {key: with_tuple(value) for key, value in row.items()}
        file = FileContents(**values)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise AUTHOR.fault(CONTENTS_FILE, f"has a line that is not a file: line {number}") from None
    return file


def with_tuple(value: object) -> object:
    """Return a list of JSON as a tuple, and every other value as it is."""
    return tuple(value) if isinstance(value, list) else value


def render(files: Iterable[FileContents]) -> str:
    """Return the text: a line per file, so that a move is a small diff."""
    rows = ({key: value for key in FIELDS if (value := getattr(file, key))} for file in sorted(files, key=_order))
    return "".join(json.dumps(row, ensure_ascii=False, separators=(", ", ": ")) + "\n" for row in rows)


def _order(file: FileContents) -> tuple[str, str, str]:
    return file.name, file.version, file.sha256


def sbom_text(components: Iterable[ListedComponent]) -> str:
    """Return the text of a file in contents/sboms: a package URL a line, and its licence."""
    return "".join(f"{component.purl} {component.license}".rstrip() + "\n" for component in sorted(components))


def read_sbom(folder: Path, name: str) -> tuple[ListedComponent, ...]:
    """Return the components of a file in contents/sboms.

    Raises:
        LockError: it is missing, or a line is not a package URL.
    """
    path = f"{SBOMS}/{name}"
    return parse_sbom(file_reader.read_text(folder / path, path, AUTHOR), path)


def parse_sbom(text: str, path: str) -> tuple[ListedComponent, ...]:
    """Return the components of the text of such a file; same errors."""
    rows = (line.partition(" ") for line in text.splitlines())
    components = tuple(ListedComponent(purl=purl, license=license_name) for purl, _, license_name in rows)
    for component in components:
        if not component.purl.startswith("pkg:"):
            raise AUTHOR.fault(path, f"has a line that is not a package URL: {component.purl[:80]!r}")
    return components


def faults(folder: Path, pins: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return a message where pins of locks have no content; offline.

    Args:
        folder: the checkout.
        pins: target -> `name==version` of its locks.
    """
    contents = read(folder)
    if contents is None:
        return ()
    known = {(target, file.pin) for file in contents.files for target in file.targets}
    missing = sorted({pin for target, names in pins.items() for pin in names if (target, pin) not in known})
    if not missing:
        return ()
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    reason = f"does not have the content of {', '.join(missing[:NAMED])}{more}, which locks pin"
    return (str(AUTHOR.fault(CONTENTS_FILE, reason)),)


NAMED = 3
"""Pins that a message names before it counts the rest."""
