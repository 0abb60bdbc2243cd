"""Store of reports: one file each below .build/reports, the last one at .build/report.json.

Each is written beside its place and renamed, under a name of its own: two builds at once have a report each, and
.build/report.json is that of the one that ended last.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.inspect.report import record

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.inspect.report.record import Report

FOLDER = ".build/reports"
LAST = ".build/report.json"
PAGE = ".build/report.html"


def keep(folder: Path, report: Report, count: int) -> None:
    """Keep a report as the last one of a checkout, and no more than `count` of them in all.

    Raises:
        NoSpaceError: the disk is full.
    """
    text = record.text(report)
    for path in (_file(folder, report), folder / LAST):
        process.write(process.Document(path=path, text=text))
    for old in files(folder)[:-count]:
        old.unlink(missing_ok=True)  # another build may have been quicker


def renew(folder: Path, report: Report) -> None:
    """Write a report down again, of which more is known now.

    Raises:
        NoSpaceError: the disk is full.
    """
    place = _file(folder, report)
    if not place.is_file():
        return  # it is no longer one of the last
    text = record.text(report)
    process.write(process.Document(path=place, text=text))
    last = folder / LAST
    if last.is_file() and f'"name": "{report.name}"' in last.read_text(encoding="utf-8"):
        process.write(process.Document(path=last, text=text))


def _file(folder: Path, report: Report) -> Path:
    return folder / FOLDER / f"{report.name}.json"


def files(folder: Path) -> list[Path]:
    """Return the files of the reports, from the oldest on."""
    return sorted((folder / FOLDER).glob("[0-9]*.json"))


def read(folder: Path) -> tuple[Report, ...]:
    """Return the reports that there are, from the oldest on; what is no report is named and left alone."""
    found = []
    for file in files(folder):
        try:
            report = record.read(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # a build that ended meanwhile removed the oldest
        except ValueError as error:
            print(f"{file.relative_to(folder)} is left out: {error}", file=sys.stderr, flush=True)
            continue
        found += [report] if report else []
    return tuple(found)
