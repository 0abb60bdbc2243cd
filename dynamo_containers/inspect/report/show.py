"""`invoke report`: the last builds as one HTML page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dynamo_containers import process
from dynamo_containers.errors import UsageError
from dynamo_containers.inspect.report import backfill, store
from dynamo_containers.inspect.report import html as report_html

if TYPE_CHECKING:
    from pathlib import Path


def show(folder: Path) -> Path:
    """Write the page of the last builds of a checkout, and return where it is.

    Raises:
        UsageError: nothing was built yet.
    """
    reports = store.read(folder)
    if not reports:
        message = (
            f"There is no report of a build below {store.FOLDER}, so there is nothing to show.\n"
            "Build something: invoke build.base"
        )
        raise UsageError(message)
    path = folder / store.PAGE
    process.write(process.Document(path=path, text=report_html.page(backfill.of(folder, reports), time.time())))
    return path
