"""Warnings of pip that concern a lock, and extras that do not exist.

pip prints them to a stream that nobody reads where many locks are made, and goes on. Here an extra that a requirement
file names and that does not exist is an error, and everything else is in the report of the lock. Only the child process
that runs pip-compile imports this module.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from pip._internal.resolution.resolvelib.candidates import ExtrasCandidate

from dynamo_containers.errors import LockError, similar_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOGGERS = ("resolution", "index", "metadata", "req", "models")
"""Parts of pip._internal whose warnings concern packages; those of others concern the machine."""
CONFLICTS = "pip._internal.resolution.resolvelib.factory"
"""The logger of conflicts. It also states, as information, which files pip discards for their metadata."""
REPORTED_ELSEWHERE = re.compile(r"does not provide the extra|is a yanked version|selected for download or install is a")
"""The first is `missing_extras` for the packages that were chosen; yanked releases have a line of their own."""
MARKUP = re.compile(r"\[(?:/|reset|yellow|blue underline)\]|\\(?=\[)")


class WarningRecorder(logging.Handler):
    """Handler that keeps each warning once, as one line."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning, or the information that a file is discarded."""
        message = MARKUP.sub("", record.getMessage())
        counts = record.levelno >= logging.WARNING or message.startswith("Discarding ")
        if counts and not REPORTED_ELSEWHERE.search(message):
            self.messages[" ".join(message.split())] = None


def record_warnings() -> WarningRecorder:
    """Record the warnings of pip in this process."""
    recorder = WarningRecorder()
    for name in LOGGERS:
        logger = logging.getLogger(f"pip._internal.{name}")
        logger.setLevel(logging.WARNING)  # pip-compile --quiet sets pip's own level above it
        logger.addHandler(recorder)
    logging.getLogger(CONFLICTS).addHandler(recorder)
    return recorder


def missing_extras(result: Any) -> tuple[str, ...]:  # noqa: ANN401 - resolvelib's Result, whose types are pip's own
    """Return a sentence for each extra that a resolved package requires of another one and that does not exist.

    Raises:
        LockError: a requirement file names such an extra.
    """
    faults: list[str] = []
    warnings: list[str] = []
    for name, candidate in result.mapping.items():
        if not isinstance(candidate, ExtrasCandidate):
            continue
        provided = sorted(candidate.base.dist.iter_provided_extras())
        for extra in sorted(candidate.extras - set(provided)):
            for place, is_direct in _requirers(result.criteria[name].information):
                (faults if is_direct else warnings).append(_sentence(candidate, extra, provided, place))
    if faults:
        raise LockError("\n".join(faults))
    return tuple(dict.fromkeys(warnings))


def _sentence(candidate: ExtrasCandidate, extra: str, provided: Iterable[str], place: str) -> str:
    existing = ", ".join(provided)
    has = f"It has: {existing}." if existing else "It has no extras."
    similar = similar_name(extra, provided)
    hint = f" Did you mean {similar}?" if similar else ""
    return f'{candidate.project_name}=={candidate.version} has no extra "{extra}" ({place}). {has}{hint}'


def _requirers(information: Iterable[Any]) -> Iterator[tuple[str, bool]]:
    """Return (requirer, whether it is a requirement file) of a package with an extra."""
    for requirement, parent in information:
        if parent is None:
            line = requirement.get_candidate_lookup()[1]
            yield str(getattr(line, "comes_from", None) or "a requirement file"), True
        else:
            yield f"{parent.project_name}=={parent.version} requires {requirement}", False
