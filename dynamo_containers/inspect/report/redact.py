"""Removal of credentials from reports."""

from __future__ import annotations

import re

LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?=\n)|[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters of a terminal: colours and cursor moves."""


def text(content: str) -> str:
    """Return a text without logins and without control characters."""
    return LOGIN.sub("***@", COLOUR.sub("", content))
