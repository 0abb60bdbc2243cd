"""What takes long says that it is still at it, and what does not is quiet."""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import process, progress
from dynamo_containers.upstream import download as upstream_download

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Server


def test_a_line_comes_every_while_until_the_block_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.said(lambda: "at it", every=0.02):
        time.sleep(0.09)
    lines = capsys.readouterr().err.splitlines()
    assert set(lines) == {"  at it, 0 s"}
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_what_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.said(lambda: "at it"):
        pass
    assert capsys.readouterr().err == ""


def test_the_line_ends_with_the_block_also_where_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress.said(lambda: "at it", every=0.02):
        raise ZeroDivisionError
    capsys.readouterr()  # what came while it ran
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_quiet_command_says_what_it_is_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "said", partial(progress.said, every=0.05))
    process.call(process.Command(argv=("sleep", "0.2"), quiet=True, title="constraints/x.txt"))
    process.call(process.Command(argv=("/bin/sleep", "0.2"), quiet=True))
    said = capsys.readouterr().err
    assert "  constraints/x.txt, 0 s\n" in said
    assert "  sleep, 0 s\n" in said


def test_a_long_download_says_how_much_came(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"x" * 3_000_000
    server.files["/a.deb"] = content
    monkeypatch.setattr(progress, "said", partial(progress.said, every=0.001))
    download = upstream_download.Download(
        url=f"{server.address}/a.deb", sha256=hashlib.sha256(content).hexdigest(), size=len(content)
    )
    upstream_download.fetch_all(tmp_path, [download])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Fetching 1 files (3 MB)"
    assert set(lines[1:]) <= {f"  {number} of 3 MB, 0 s" for number in range(4)}
    assert len(lines) > 1
