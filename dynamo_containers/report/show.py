"""`invoke report`: the last builds as one HTML page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dynamo_containers import run
from dynamo_containers.errors import UsageError
from dynamo_containers.report import complete, page, store

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
    run.write(run.Document(path=path, text=page.page(complete.of(folder, reports), time.time())))
    return path
