"""Store of reports: one file each below .build/reports, the last one at .build/report.json.

Each file is written under another name and renamed. Two builds at once have a report each, and .build/report.json is
that of the build that ended last.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dynamo_containers import file_reader, process, state
from dynamo_containers.errors import FatalError
from dynamo_containers.inspect.report import record

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.inspect.report.record import BuildReport


def keep(folder: Path, report: BuildReport, count: int) -> None:
    """Write a report as the last one of a checkout, and delete all but the last `count` of them.

    Raises:
        NoSpaceError: the disk is full.
    """
    text = record.text(report)
    for path in (_file(folder, report), folder / state.LAST_REPORT):
        process.write(_document(path, text))
    for old in files(folder)[:-count]:
        old.unlink(missing_ok=True)  # another build may have deleted it


def renew(folder: Path, report: BuildReport) -> None:
    """Write a report again that has more details now.

    Raises:
        NoSpaceError: the disk is full.
    """
    path = _file(folder, report)
    if not path.is_file():
        return  # it was deleted as an old one
    text = record.text(report)
    process.write(_document(path, text))
    last = folder / state.LAST_REPORT
    if f'"name": "{report.name}"' in (file_reader.cached_text(last) or ""):
        process.write(_document(last, text))


def _document(path: Path, text: str) -> process.Document:
    """Return a report to write. A no-op does not wait for the disk: a report that a power failure broke is ignored."""
    return process.Document(path=path, text=text, durable=False)


def _file(folder: Path, report: BuildReport) -> Path:
    return folder / state.REPORTS / f"{report.name}.json"


def files(folder: Path) -> list[Path]:
    """Return the files of the reports, from the oldest on."""
    return sorted((folder / state.REPORTS).glob("[0-9]*.json"))


def read(folder: Path) -> tuple[BuildReport, ...]:
    """Return the reports of a checkout, from the oldest on; a file that is not a report is named and ignored."""
    reports = []
    for file in files(folder):
        try:
            text = file_reader.read_text_if_there(file, str(file.relative_to(folder)))
            if text is None:
                continue  # a build that ended meanwhile deleted the oldest
            report = record.read(text)
        except (ValueError, FatalError) as error:
            print(f"{file.relative_to(folder)} is ignored: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
            continue
        reports += [report] if report else []
    return tuple(reports)
