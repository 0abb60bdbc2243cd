"""A site that loads something from a network is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks import site

if TYPE_CHECKING:
    from pathlib import Path


def test_links_that_a_person_follows_are_allowed() -> None:
    assert site.loaded('<a href="https://example.com">x</a><img src="../a.svg"><script src="a.js"></script>') == []


def test_what_a_browser_loads_by_itself_is_seen() -> None:
    page = (
        '<link rel="stylesheet" href="https://fonts.example.com/css"><script src="//cdn.example.com/a.js"></script>'
        '<img src="http://example.com/a.png"><style>@import url(https://example.com/b.css);</style>'
        "<div style=\"background: url('https://example.com/c.png')\"></div>"
    )
    assert site.loaded(page) == [
        "https://fonts.example.com/css",
        "//cdn.example.com/a.js",
        "http://example.com/a.png",
        "https://example.com/b.css",
        "https://example.com/c.png",
    ]


def test_a_diagram_that_the_theme_draws_with_a_script_from_a_network_is_seen() -> None:
    assert site.loaded('<pre class="mermaid"><code>graph TD</code></pre>') == ["https://unpkg.com/mermaid"]


def test_a_page_and_a_style_that_load_something_are_named(tmp_path: Path) -> None:
    (tmp_path / "how-to").mkdir()
    (tmp_path / "how-to/page.html").write_text('<img src="https://example.com/a.png">', encoding="utf-8")
    (tmp_path / "main.css").write_text("@font-face{src:url(https://example.com/f.woff2)}", encoding="utf-8")
    assert site.check(tmp_path) == [
        "how-to/page.html: loads https://example.com/a.png",
        "main.css: loads https://example.com/f.woff2",
    ]
