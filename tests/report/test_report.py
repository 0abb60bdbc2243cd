"""Real builds, their reports, and the page of the reports in a real browser without a network; pictures in .build."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine, process, state
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT
from dynamo_containers.inspect.report import record, store
from dynamo_containers.inspect.report.record import CACHED, DONE, FAILED, WAITING
from dynamo_containers.state import IMAGES
from tests import checkout_copy
from tests.report import browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynamo_containers.inspect.report.record import BuildReport

pytestmark = pytest.mark.engine

REPOSITORY = "report-base"
PICTURES = ROOT / ".build/report-test"
MINUTES = 15
FETCHED = ("base-nixl", "base-runtime", "base-rest")
TEXT = "<b>this wheelhouse</b> is bad"
BROKEN = f'#!/usr/bin/env python3\nimport sys\n\nprint("{TEXT}")\nsys.exit(3)\n'
SCREENS = [(1200, 900), (360, 800)]
SCHEMES = ["light", "dark"]


@dataclass(frozen=True, kw_only=True)
class BuildSeries:
    """Reports of four builds of a copy of this checkout, of which the last one failed, and their page."""

    good: BuildReport
    no_op: BuildReport
    """The second build, which found the image up to date."""
    cached: BuildReport
    """The third build, whose targets the engine had in its cache."""
    bad: BuildReport
    page: Path


def invoke(copy: Path, *arguments: str) -> process.CompletedCommand:
    return process.query(checkout_copy.invoke(copy, *arguments), seconds=60 * MINUTES)


def last(copy: Path) -> BuildReport:
    report = record.read((copy / state.LAST_REPORT).read_text(encoding="utf-8"))
    assert report is not None
    return report


@pytest.fixture(scope="module")
def built() -> Iterator[BuildSeries]:
    copy = checkout_copy.clone("report-copy")
    (copy / ".engine").mkdir()
    (copy / ".engine/data").symlink_to(ROOT / ".engine/data")  # the store in which sizes are read
    rows = (copy / IMAGES_FILE).read_text(encoding="utf-8")
    (copy / IMAGES_FILE).write_text(rows.replace('"dynamo-base"', f'"{REPOSITORY}"'), encoding="utf-8")
    first = invoke(copy, "build.base")
    assert first.returncode == 0, first.stderr[-4000:]
    good = last(copy)
    assert invoke(copy, "build.base").returncode == 0
    no_op = last(copy)
    shutil.rmtree(copy / IMAGES)
    assert invoke(copy, "build.base").returncode == 0
    (copy / "containers/fetched/check-wheels").write_text(BROKEN, encoding="utf-8")
    broken = invoke(copy, "build.base")
    assert broken.returncode == 7, broken.stderr[-4000:]
    bad = last(copy)
    shown = invoke(copy, "report")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == f"{copy / state.REPORT_PAGE}\n"
    reports = {report.name: report for report in store.read(copy)}
    cached = next(report for name, report in reports.items() if name not in {good.name, no_op.name, bad.name})
    yield BuildSeries(
        good=reports[good.name], no_op=reports[no_op.name], cached=cached, bad=bad, page=copy / state.REPORT_PAGE
    )
    environment = engine.environment(ROOT)
    argv = ("docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}", REPOSITORY)
    tags = process.capture(process.Command(argv=argv, env=environment)).split()
    process.capture(process.Command(argv=("docker", "image", "rm", *tags), env=environment))
    shutil.rmtree(copy)


@pytest.fixture(scope="module")
def page(built: BuildSeries) -> Iterator[browser.BrowserPage]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with browser.opened(built.page.as_uri()) as opened:
        yield opened


def test_a_build_records_its_targets_and_the_size_of_its_image(built: BuildSeries) -> None:
    assert built.good.outcome == DONE
    targets = built.good.targets or ()
    assert [target.name for target in targets] == ["builder", "tools", *FETCHED, "base"]
    assert {target.state for target in targets} <= {DONE, CACHED}
    for target in targets[2:-1]:
        lines = (line.name for line in target.instructions)
        steps = [line.partition("]")[0] for line in lines if line.startswith("[fetch-and-check-wheels ")]
        assert steps == ["[fetch-and-check-wheels 1/3", "[fetch-and-check-wheels 2/3"]
    (image,) = built.good.images
    assert image.size is not None
    assert image.size.packed > 100 * 10**6
    assert image.tag.startswith(f"{REPOSITORY}:")


def test_a_build_of_an_image_that_is_up_to_date_runs_no_target_and_records_the_image(built: BuildSeries) -> None:
    assert (built.no_op.outcome, built.no_op.records) == (DONE, {})
    assert [target.name for target in built.no_op.targets or ()] == [target.name for target in built.good.targets or ()]
    assert {target.state for target in built.no_op.targets or ()} == {CACHED}
    assert built.no_op.images == built.good.images


def test_a_build_without_changes_is_all_cached_and_is_not_queried_while_it_runs(built: BuildSeries) -> None:
    assert built.cached.seconds < len(built.cached.records)
    assert {target.state for target in built.cached.targets or ()} == {CACHED}
    assert built.cached.images == built.good.images


def test_a_failed_build_records_the_failed_target_and_its_error(built: BuildSeries) -> None:
    assert built.bad.failure is not None
    assert (built.bad.outcome, built.bad.failure.phase, built.bad.failure.exit_code) == (FAILED, "building", 7)
    target = built.bad.failed_target
    assert target is not None
    assert target.name in FETCHED
    assert TEXT in target.log
    (line,) = (line for line in target.instructions if line.state == FAILED)
    assert line.error.endswith("exit code: 3")
    assert WAITING in {line.state for line in target.instructions}


def test_the_page_requests_nothing_and_has_no_errors(built: BuildSeries, page: browser.BrowserPage) -> None:
    assert (page.requests, page.complaints) == ([built.page.as_uri()], [])


def test_the_page_shows_the_failure_without_a_click_and_without_a_script(page: browser.BrowserPage) -> None:
    text = str(page.value("document.body.innerText"))
    assert "Failed while building, in the target base-" in text
    assert TEXT in text
    assert page.value("document.scripts.length") == 0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("width", "height"), SCREENS, ids=["screen", "telephone"])
def test_the_page_fits_its_screen(page: browser.BrowserPage, width: int, height: int, scheme: str) -> None:
    page.look(width, height, scheme)
    assert int(str(page.value("document.documentElement.scrollWidth"))) <= width
    dark = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 15)"
    assert dark == (scheme == "dark")
    smallest = (
        "Math.min(...[...document.querySelectorAll('body *')].map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert float(str(page.value(smallest))) >= 11
    picture = page.screenshot(PICTURES / f"{width}-{scheme}.png")
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000


OVER = """(() => {
  const shown = [...document.querySelectorAll('.card, .build, .panel, .targets li, .failure, .facts div')]
    .filter(e => e.checkVisibility());
  const over = [];
  for (const first of shown) for (const other of shown) {
    if (first === other || first.contains(other) || other.contains(first)) continue;
    const a = first.getBoundingClientRect(), b = other.getBoundingClientRect();
    const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (x > 1 && y > 1) over.push([first.className, other.className]);
  }
  return JSON.stringify(over);
})()"""
"""Parts of the page that overlap."""
CUT = """(() => {
  const right = e => e.getBBox().x + e.getBBox().width;
  const cut = [...document.querySelectorAll('.graph text')].filter(e => right(e) > right(e.parentNode.children[1]));
  return JSON.stringify(cut.map(e => e.textContent));
})()"""
"""Texts of the graph that do not fit into their boxes."""


@pytest.mark.parametrize(("width", "height"), SCREENS, ids=["screen", "telephone"])
def test_no_parts_overlap_and_texts_fit_into_their_boxes(page: browser.BrowserPage, width: int, height: int) -> None:
    page.look(width, height, "light")
    assert (page.value(OVER), page.value(CUT)) == ("[]", "[]")


def test_the_keyboard_reaches_everything_that_opens_or_scrolls_and_it_has_a_name(page: browser.BrowserPage) -> None:
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")]
    assert [role for role, name in roles if role in {"image", "region", "link"} and not name] == []
    boxes = "[...document.querySelectorAll('.scroll, .log, pre')].filter(e => !e.parentNode.closest('.log'))"
    hidden = f"{boxes}.filter(e => e.tabIndex !== 0).length"
    assert page.value(hidden) == 0
