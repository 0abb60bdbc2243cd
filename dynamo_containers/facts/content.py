"""What no layer of an image may contain: the table `[content]` of images.toml, and its exceptions by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dynamo_containers.toml_table import any_of, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.toml_table import Table

FOREIGN, STARTUP, SETUID, UNREADABLE = "foreign-machine", "startup", "setuid", "unreadable"
BUILT_IN = {
    FOREIGN: "native code for another machine",
    STARTUP: "each start of Python runs it",
    SETUID: "it runs with the rights of its owner or group",
    UNREADABLE: "it could not be checked",
}
"""Rules that every layer must keep, besides those of the rows `content.denied` -> the reason."""


@dataclass(frozen=True, kw_only=True)
class DeniedContent:
    """A row `content.denied`: what must be in no layer, and why."""

    reason: str
    files: tuple[str, ...] = ()
    """Patterns of the name of a binary, a static library or a link, or of the name by which a library says that others
    load it (SONAME)."""
    texts: tuple[str, ...] = ()
    """Texts in a binary: options of a configuration, the line by which a codec names itself."""


@dataclass(frozen=True, kw_only=True)
class ContentException:
    """A row `content.exceptions`: what is allowed although a rule denies it."""

    rule: str
    paths: tuple[str, ...]
    """Patterns of the path in the image; `ARCHIVE!/PATH` for a file of an archive."""
    reason: str
    evidence: str
    """Where one can see that the reason is true: a command, a file, a page."""


@dataclass(frozen=True, kw_only=True)
class ContentRules:
    """The table `[content]`."""

    denied: Mapping[str, DeniedContent] = field(default_factory=dict)
    exceptions: Mapping[str, ContentException] = field(default_factory=dict)

    def reason(self, rule: str) -> str:
        """Return why a rule denies."""
        return self.denied[rule].reason if rule in self.denied else BUILT_IN[rule]

    def exception(self, rule: str, path: str) -> str:
        """Return the name of the exception for a file; '' for none."""
        return next(
            (
                name
                for name, row in self.exceptions.items()
                if row.rule == rule and any(fnmatchcase(path, pattern) for pattern in row.paths)
            ),
            "",
        )


def read(table: Table) -> ContentRules:
    """Read the table `[content]`; the type of each value was checked with the file.

    Raises:
        UsageError: a row denies nothing, has the name of a rule that every image must keep, or names an unknown rule.
    """
    denied = {name: _denied(row) for name, row in table.tables("denied", optional=True).items()}
    for name in BUILT_IN:
        if name in denied:
            raise wrong(table.file, f"{table.path}.denied.{name}", "a rule of that name", "another name")
    rules = (*denied, *BUILT_IN)
    exceptions = {name: _exception(row, rules) for name, row in table.tables("exceptions", optional=True).items()}
    table.refuse_the_rest()
    return ContentRules(denied=denied, exceptions=exceptions)


def _denied(row: Table) -> DeniedContent:
    content = DeniedContent(
        reason=row.string("reason"),
        files=row.strings("files", optional=True),
        texts=row.strings("texts", optional=True),
    )
    row.refuse_the_rest()
    if not content.files and not content.texts:
        raise wrong(row.file, row.path, "neither files nor texts", "a row that denies something")
    return content


def _exception(row: Table, rules: tuple[str, ...]) -> ContentException:
    exception = ContentException(
        rule=row.string("rule"),
        paths=row.strings("paths"),
        reason=row.string("reason"),
        evidence=row.string("evidence"),
    )
    row.refuse_the_rest()
    if exception.rule not in rules:
        raise wrong(row.file, f"{row.path}.rule", f'"{exception.rule}"', any_of(rules))
    return exception
