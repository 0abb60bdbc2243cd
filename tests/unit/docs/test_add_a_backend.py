"""docs/how-to/add-a-backend.md explains every key of an image's row, and no other keys."""

from __future__ import annotations

import re
from dataclasses import fields

from dynamo_containers.facts.catalogue import ROOT, Image


def test_the_table_of_keys_is_complete() -> None:
    page = (ROOT / "docs/how-to/add-a-backend.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    explained = [key for row in rows for key in re.findall(r"`([\w-]+)`", row)]
    assert sorted(explained) == sorted(field.name.replace("_", "-") for field in fields(Image) if field.name != "name")
