"""Traces of the machine that built an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.smoke.forbidden import machine_traces


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"made in /tmp/v.", True),
        (b"/tmp/v/constraints/base.txt", True),
        (b'"/tmp/v"', True),
        (b"/tmp/video.mp4", False),
        (b"/tmp/v-2/tasks.py and /tmp/v.txt", False),
    ],
)
def test_the_path_of_the_checkout_is_no_other_path_that_begins_so(content: bytes, expected: bool) -> None:  # noqa: FBT001
    named = [trace.name for trace in machine_traces(Path("/tmp/v")) if trace.is_in(content)]
    assert ("the path of the checkout" in named) is expected
