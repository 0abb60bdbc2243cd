"""`invoke report`: the last builds as one HTML page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers import process, state
from dynamo_containers.errors import UsageError
from dynamo_containers.inspect.report import backfill, store
from dynamo_containers.inspect.report import html as report_html
from dynamo_containers.inspect.report.record import BuildReport  # noqa: TC001 - msgspec resolves the types of the fields
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class BuildHistory:
    """Answer of `invoke report`."""

    page: str
    """The path of the HTML page."""
    builds: tuple[BuildReport, ...]
    """The recorded builds, from the oldest on; .build/report.json has the last one in the same form."""


def show(folder: Path) -> Result:
    """Write the page of the last builds of a checkout, and return its path and the builds.

    Raises:
        UsageError: nothing was built yet.
    """
    reports = store.read(folder)
    if not reports:
        message = f"There are no reports of builds below {state.REPORTS}.\nBuild something: invoke build.base"
        raise UsageError(message)
    path = folder / state.REPORT_PAGE
    builds = backfill.complete(folder, reports)
    process.write(process.Document(path=path, text=report_html.page(builds, time.time())))
    return Result(text=str(path), data=BuildHistory(page=str(path), builds=builds))
