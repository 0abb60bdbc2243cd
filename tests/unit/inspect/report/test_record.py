"""The values of a report, the files of reports, and what no report contains."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from dynamo_containers import process, state
from dynamo_containers.inspect.report import record, redact, store
from dynamo_containers.inspect.report.record import (
    BUILDING,
    CACHED,
    DONE,
    FAILED,
    BuildReport,
    Failure,
    RecordedImage,
    RecordedInstruction,
    RecordedNode,
    RecordedTarget,
    RequestedBuild,
)
from dynamo_containers.inspect.report.show import BuildHistory
from dynamo_containers.inspect.sizes.manifest import ImageSize, MeasuredLayer

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = RequestedBuild(
    command="invoke build.base",
    stage="base",
    images=("base",),
    bases="debian",
    platforms=("linux/amd64",),
    revision="a1",
)
LAYER = MeasuredLayer(name="os", digest="sha256:a", content="sha256:b", packed=34, unpacked=100)
REPORT = BuildReport(
    name="20261124T175908.000000-7",
    request=REQUEST,
    started=1795543148.5,
    seconds=12.5,
    outcome=FAILED,
    failure=Failure(phase=BUILDING, message="The command ended", exit_code=7),
    graph={"base": ("builder", "tools"), "builder": (), "tools": ()},
    records={"default/default/x": "base"},
    nodes=(
        RecordedNode(
            name="the builder node",
            platforms=("linux/amd64",),
            variables={"DOCKER_CONTEXT": "node"},
            merged=True,
            records=("default/default/x",),
            unknown_reason="why",
        ),
    ),
    targets=(
        RecordedTarget(
            name="base",
            platform="linux/amd64",
            state=FAILED,
            seconds=2.5,
            spans=((1.0, 3.5),),
            instructions=(RecordedInstruction(name="[1/2] RUN x", state=FAILED, seconds=2.5, error="exit code: 1"),),
            log=("one", "two"),
        ),
        RecordedTarget(name="tools", platform="", state=CACHED, seconds=0.0, spans=(), instructions=()),
    ),
    images=(
        RecordedImage(
            stage="base",
            name="base-base-debian-amd64",
            tag="dynamo-base:1",
            digest="sha256:c",
            package_targets=("base",),
            budget={"layers": 6},
            size=ImageSize(layers=(LAYER,)),
        ),
        RecordedImage(
            name="base-base-debian-arm64",
            stage="base",
            tag="dynamo-base:1",
            digest="",
            package_targets=(),
            unmeasured_reason="why",
            pushed="r.example/dynamo-base@sha256:d",
            pushed_tag="r.example/dynamo-base:1.4.2-debian",
            pushed_digest="sha256:e",
        ),
    ),
)


def named(name: str) -> BuildReport:
    return replace(REPORT, name=name)


def names(folder: Path) -> list[str]:
    return [report.name for report in store.read(folder)]


@pytest.mark.parametrize(
    "report", [REPORT, replace(REPORT, targets=None, failure=None, images=())], ids=["all", "little"]
)
def test_a_report_is_read_as_it_was_written(report: BuildReport) -> None:
    assert record.read(record.text(report)) == report


@pytest.mark.parametrize("version", [1, 3], ids=["older", "newer"])
def test_a_report_of_another_format_is_ignored(tmp_path: Path, version: int) -> None:
    store.keep(tmp_path, named("20261124-1"), 3)
    row = {"format": version, "name": "20261123-1", "asked": {"command": "invoke build.base"}, "steps": None}
    process.write(process.Document(path=tmp_path / state.REPORTS / "20261123-1.json", text=json.dumps(row)))
    assert names(tmp_path) == ["20261124-1"]


def test_the_answer_of_the_command_has_every_report_and_a_schema(tmp_path: Path) -> None:
    history = BuildHistory(page=str(tmp_path), builds=(REPORT, replace(REPORT, targets=None)))
    assert msgspec.json.decode(msgspec.json.encode(history), type=BuildHistory) == history
    schema = msgspec.json.schema(BuildHistory)
    assert all("description" in definition for definition in schema["$defs"].values())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2, "colour": "red"}'])
def test_what_is_no_report_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a report|Expecting"):
        record.read(text)


def test_the_last_reports_are_kept_and_the_last_one_stands_alone(tmp_path: Path) -> None:
    for number in range(5):
        store.keep(tmp_path, named(f"2026112{number}-1"), 3)
    assert names(tmp_path) == ["20261122-1", "20261123-1", "20261124-1"]
    assert record.read((tmp_path / state.LAST_REPORT).read_text(encoding="utf-8")) == named("20261124-1")


def test_two_builds_at_once_have_a_report_each(tmp_path: Path) -> None:
    for name in ("20261124-8", "20261124-7"):
        store.keep(tmp_path, named(name), 3)
    assert names(tmp_path) == ["20261124-7", "20261124-8"]
    assert record.read((tmp_path / state.LAST_REPORT).read_text(encoding="utf-8")) == named("20261124-7")


def test_what_is_learned_later_is_written_down(tmp_path: Path) -> None:
    for name in ("20261123-1", "20261124-1"):
        store.keep(tmp_path, replace(named(name), targets=None), 3)
        store.renew(tmp_path, named(name))
    assert store.read(tmp_path) == (named("20261123-1"), named("20261124-1"))
    assert record.read((tmp_path / state.LAST_REPORT).read_text(encoding="utf-8")) == named("20261124-1")


def test_what_is_learned_of_a_build_that_is_no_longer_kept_is_let_go(tmp_path: Path) -> None:
    store.keep(tmp_path, named("20261124-1"), 3)
    store.renew(tmp_path, named("20261123-1"))
    assert names(tmp_path) == ["20261124-1"]


def test_a_broken_report_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.keep(tmp_path, named("20261124-1"), 3)
    process.write(process.Document(path=tmp_path / state.REPORTS / "20261123-1.json", text='{"format": 2'))
    assert names(tmp_path) == ["20261124-1"]
    assert capsys.readouterr().err.startswith(".build/reports/20261123-1.json is ignored: Expecting ',' delimiter")


def test_the_failed_target_is_found() -> None:
    assert (REPORT.failed_target or REPORT).name == "base"
    assert replace(REPORT, targets=None).failed_target is None
    assert replace(REPORT, outcome=DONE, targets=REPORT.targets and REPORT.targets[1:]).failed_target is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:secret@example.invalid/simple", "https://***@example.invalid/simple"),
        ("git+ssh://token@example.invalid/x and http://b:c@d/", "git+ssh://***@example.invalid/x and http://***@d/"),
        ("https://example.invalid/a@b", "https://example.invalid/a@b"),
        ("\x1b[31mred\x1b[0m\x07", "red"),
    ],
)
def test_no_login_and_no_colour_of_a_terminal_stands_in_a_report(text: str, expected: str) -> None:
    assert redact.text(text) == expected
