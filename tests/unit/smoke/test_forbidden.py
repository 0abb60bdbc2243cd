"""What counts as a trace of the machine that built an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.smoke.forbidden import of_this_machine


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"made in /tmp/v.", True),
        (b"/tmp/v/constraints/base.txt", True),
        (b'"/tmp/v"', True),
        (b"/tmp/video.mp4", False),
        (b"/tmp/v-2/tasks.py and /tmp/v.txt", False),
    ],
)
def test_the_path_of_the_checkout_is_no_other_path_that_begins_so(content: bytes, found: bool) -> None:  # noqa: FBT001
    named = [each.name for each in of_this_machine(Path("/tmp/v")) if each.is_in(content)]
    assert ("the path of the checkout" in named) is found
