"""Tests of the report of several stages that fail before the build starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.builds import run as build_run
from dynamo_containers.errors import LockError
from dynamo_containers.inspect.report import record, store
from dynamo_containers.plan.options import BuildOptions, ImageSelection
from dynamo_containers.plan.request import parse_stages, requests_for

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue


def test_a_missing_lock_leaves_one_report_of_all_stages(checkout: Path, catalogue: Catalogue) -> None:
    requests = requests_for(
        catalogue, parse_stages(()), ImageSelection(images=["frontend"], platforms=["linux/amd64"], bases="debian")
    )
    assert len(requests) > 1
    with pytest.raises(LockError):
        build_run.run(requests, BuildOptions(), dry_run=False)
    (report,) = store.read(checkout)
    assert report.failure is not None
    assert (report.outcome, report.failure.phase) == (record.FAILED, record.PREPARING)
    assert report.failure.exit_code == LockError.exit_code
