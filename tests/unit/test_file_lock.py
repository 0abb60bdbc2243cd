"""One process waits for another, and says so."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import file_lock
from dynamo_containers.errors import BusyError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_second_waits_for_the_first_and_says_for_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def second() -> None:
        with file_lock.hold(tmp_path / "below/lock", "another build"):
            order.append("second")

    with file_lock.hold(tmp_path / "below/lock", "another build"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=3 * file_lock.POLL_SECONDS)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().err == "Waiting for another build\n"


def test_who_waits_too_long_is_told_what_is_still_at_work(tmp_path: Path) -> None:
    with (
        file_lock.hold(tmp_path / "lock", "another build"),
        pytest.raises(BusyError, match=r"^Another build still runs.\nWait for it, or stop it.$"),
        file_lock.hold(tmp_path / "lock", "another build", seconds=0),
    ):
        pass


def test_a_lock_is_free_again_whatever_happened(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="bug"), file_lock.hold(tmp_path / "lock", "another build"):
        raise RuntimeError("bug")  # noqa: EM101 - what happened
    with file_lock.hold(tmp_path / "lock", "another build", seconds=0):
        pass
