"""Addresses that a reader's browser would load from a network: python -m checks.site FOLDER.

A link that a person may follow is no such address. Styles are read as well, because they can load fonts and pictures.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADING = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
}
"""Tag -> the attributes whose address a browser loads by itself."""
MERMAID = "https://unpkg.com/mermaid"
"""What the theme's own script loads where a page has a diagram of that kind."""
ELSEWHERE = re.compile(r"(?:https?:)?//")
STYLE = re.compile(r"(?:url\(|@import\s)\s*[\"']?((?:https?:)?//[^\"')\s;]+)")


class Page(HTMLParser):
    """The addresses of other machines that one page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the addresses of one tag."""
        classes = next((value or "" for name, value in attrs if name == "class"), "")
        self.addresses += [MERMAID] if "mermaid" in classes.split() else []
        loaded = LOADING.get(tag, ())
        self.addresses += [value for name, value in attrs if name in loaded and value and ELSEWHERE.match(value)]
        self.addresses += [
            address for name, value in attrs if name == "style" for address in STYLE.findall(value or "")
        ]

    def handle_data(self, data: str) -> None:
        """Take the addresses of a style in the page."""
        self.addresses += STYLE.findall(data)


def loaded(text: str) -> list[str]:
    """Return what an HTML page loads from other machines."""
    page = Page()
    page.feed(text)
    return page.addresses


def check(folder: Path) -> list[str]:
    """Return a line for each address that a file of the site loads from another machine."""
    pages = [(file, loaded(file.read_text(encoding="utf-8"))) for file in sorted(folder.rglob("*.html"))]
    styles = [(file, STYLE.findall(file.read_text(encoding="utf-8"))) for file in sorted(folder.rglob("*.css"))]
    return [f"{file.relative_to(folder)}: loads {address}" for file, some in (*pages, *styles) for address in some]


def main() -> int:
    """Print what the site in a folder loads from a network; 1 where that is anything."""
    folder = Path(sys.argv[1])
    if not any(folder.rglob("*.html")):
        print(f"error: {folder} has no page. Build the site: nox -s docs", file=sys.stderr)
        return 2
    lines = check(folder)
    print("\n".join(lines) or "No page loads anything from a network.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
