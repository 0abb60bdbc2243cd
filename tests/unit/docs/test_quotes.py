"""Quoted output of a command on a page equals the real output, except for versions and sizes."""

from __future__ import annotations

import re

from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.inspect import explain_inputs

BLOCK = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\w.+:~-]*")


def masked(text: str) -> list[str]:
    """Return the lines without versions and sizes, which move with the locks."""
    return [re.sub(r"\s+", " ", NUMBER.sub("N", line)).strip() for line in text.splitlines() if line.strip()]


def test_the_tutorial_quotes_what_explain_prints() -> None:
    (quote,) = BLOCK.findall((ROOT / "docs/tutorial/index.md").read_text(encoding="utf-8"))
    printed = masked(explain_inputs.explain(load_catalogue(), "frontend", platforms=["linux/amd64"]).text)
    assert len(masked(quote)) >= 5
    assert [line for line in masked(quote) if line not in printed] == []
