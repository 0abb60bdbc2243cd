"""Every page that a file names exists, and so does every target of a link."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = re.compile(r"(?<![\w/.-])docs/(?:[\w.-]+/)*[\w.-]+\.(?:md|svg)\b")
RECORD = re.compile(r"(?<![\w/.-])docs/adr/(\d{4})\b")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
NOT_OURS = {
    "dynamo_containers/facts/sccache.py": {"docs/Configuration.md"},
    "dynamo_containers/inspect/report/backfill.py": {"docs/buildkitd.toml.md"},
    "tests/source_builds/test_nixl.py": {"docs/new.md"},  # of a checkout that the test writes
    "tests/unit/docs/test_links.py": {"docs/Configuration.md", "docs/buildkitd.toml.md", "docs/new.md"},
}


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks or would add."""
    argv = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    listed = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def text(file: Path) -> str:
    return file.read_bytes().decode("utf-8", errors="ignore")


def test_every_page_that_a_file_names_exists() -> None:
    missing = {}
    for file in tracked():
        name = str(file.relative_to(ROOT))
        pages = set(PAGE.findall(text(file))) - NOT_OURS.get(name, set())
        if absent := sorted(page for page in pages if not (ROOT / page).is_file()):
            missing[name] = absent
    assert missing == {}


def test_every_decision_record_that_a_file_names_exists() -> None:
    numbers = {file.name[:4] for file in (ROOT / "docs/adr").glob("*.md")}
    missing = {
        str(file.relative_to(ROOT)): sorted(absent)
        for file in tracked()
        if (absent := set(RECORD.findall(text(file))) - numbers)
    }
    assert missing == {}


def test_the_index_of_decision_records_has_every_title() -> None:
    index = text(ROOT / "docs/adr/index.md")
    rows = set(re.findall(r"^\| \[(\d+)\]\(([\w.-]+)\) \| (.*) \|$", index, re.MULTILINE))
    files = sorted((ROOT / "docs/adr").glob("0*.md"))
    titles = {file.name: re.match(r"# (\d+)\. (.*)", text(file)) for file in files}
    assert rows == {(title[1], name, title[2]) for name, title in titles.items() if title}
    assert len(rows) == len(files)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's titles, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text(page)), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").strip().lower() for title in titles)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title)) for title in plain}


def broken(page: Path) -> list[str]:
    """Return the broken links of a page to files of the checkout."""
    targets = [target for target in LINK.findall(FENCE.sub("", text(page))) if not re.match(r"[a-z]+:", target)]
    failures = []
    for target in targets:
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            failures.append(target)
    return failures


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_every_module_that_the_page_on_architecture_names_exists() -> None:
    page = text(ROOT / "docs/explanation/architecture.md")
    modules = re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", page)
    folders = (ROOT, ROOT / "dynamo_containers")
    assert len(modules) > 10
    assert [module for module in modules if not any((folder / module).is_file() for folder in folders)] == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `title` here\n\n```\n# not a title\n```\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#a-title-here) [c](other.md#not-a-title) [d](gone.md) [e](https://example.com)\n"
        "```\n[f](gone.md)\n```\n",
        encoding="utf-8",
    )
    assert broken(page) == ["other.md#not-a-title", "gone.md"]
