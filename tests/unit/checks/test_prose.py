"""Prose is found in pages and in code, with its line, and what reads badly is named with what reads better."""

from __future__ import annotations

import pytest

from checks import prose

PAGE = """\
# Images

An image stands
on another. `judge` is code.

```sh
echo stands on
```

    stands on
"""
CODE = '''\
"""Layers that stand on others."""

def layers() -> None:
    """Return layers.

    This paragraph stands on others.
    """
    text = "a" + f"The image {layers} stands on another."
'''


def places(text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.text) for finding in prose.ours("a file", text)]


def test_a_phrase_of_a_page_is_found_over_the_end_of_a_line_but_not_in_code() -> None:
    assert places(prose.page(PAGE)) == [(3, "stands on")]


def test_first_lines_of_docstrings_and_messages_are_read_in_code() -> None:
    assert places(prose.code(CODE)) == [(1, "stand on"), (8, "stands on")]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("This is no archive.", 1),
        ("There is no archive, and it is no longer needed.", 0),
        ('There is no bases called "x".', 1),
        ("What stands in for it stands in images.toml.", 1),
        ("It was done again without a word.", 2),
    ],
)
def test_a_phrase_is_told_from_ordinary_english(text: str, number: int) -> None:
    assert len(places(text)) == number


def test_proselint_reads_the_same_lines() -> None:
    findings = list(prose.proselint({"a page": "# Images\n\n\nIt is very large.\n"}))
    assert [(finding.line, finding.better) for finding in findings] == [(4, "leave the word out")]


def test_what_reads_badly_is_printed_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prose, "texts", lambda: iter([("page.md", "Images.\n\nAn image stands on another.\n")]))
    assert prose.main() == 1
    assert capsys.readouterr().out == "page.md:3: 'stands on': better: is based on\n"


def test_plain_english_prints_nothing_and_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prose, "texts", lambda: iter([("page.md", "An image is based on another.\n")]))
    assert (prose.main(), capsys.readouterr().out) == (0, "")
