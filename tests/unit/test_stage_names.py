"""Stages of the Dockerfiles: BuildKit's display names each step by its stage, so the name tells what the stage does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.plan import dockerfile

if TYPE_CHECKING:
    from pathlib import Path

DISPLAYED = {"RUN", "COPY", "ADD", "WORKDIR"}
"""Instructions that have a line in the display."""
VERBS = {
    "add",
    "build",
    "check",
    "compile",
    "copy",
    "fetch",
    "install",
    "lay",
    "list",
    "repair",
    "resolve",
    "set",
    "take",
}


@pytest.mark.parametrize("path", sorted(ROOT.glob("containers/*/Dockerfile")), ids=lambda path: path.parent.name)
def test_a_stage_with_a_line_in_the_display_is_named_by_a_verb(path: Path) -> None:
    stages = dockerfile.parse(path.read_text(encoding="utf-8")).stages
    names = [stage.name for stage in stages if {step.keyword for step in stage.steps} & DISPLAYED]
    assert [name for name in names if name.partition("-")[0] not in VERBS] == []
