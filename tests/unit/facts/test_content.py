"""The table [content] of images.toml."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts import content
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.prepare.contents import layer
from dynamo_containers.toml_table import Table


def read(rows: dict[str, Any]) -> content.ContentRules:
    return content.read(Table("images.toml", "content", rows))


DENIED = {"gpl": {"reason": "GPL", "files": ["libx264*"]}}


def exception(**keys: object) -> dict[str, Any]:
    row = {"rule": "gpl", "paths": ["opt/*"], "reason": "a test", "evidence": "this file", **keys}
    return {"denied": DENIED, "exceptions": {"toy": row}}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"denied": {"gpl": {"reason": "GPL"}}}, "content.denied.gpl: found neither files nor texts"),
        ({"denied": {"setuid": DENIED["gpl"]}}, "content.denied.setuid: found a rule of that name"),
        (exception(rule="glp"), 'content.exceptions.toy.rule: found "glp", allowed is one of "gpl", "foreign-machine"'),
    ],
)
def test_a_row_that_denies_nothing_or_names_no_rule_is_refused(rows: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        read(rows)
    assert message in str(error.value)


def test_an_exception_is_for_its_rule_and_paths_only() -> None:
    rules = read(exception())
    assert (rules.exception("gpl", "opt/a"), rules.exception("gpl", "usr/a"), rules.exception("setuid", "opt/a")) == (
        "toy",
        "",
        "",
    )


def test_files_for_another_machine_are_the_same_for_the_build_and_for_the_finished_image() -> None:
    check_elf = runpy.run_path(str(ROOT / "containers/bin/check-elf"))
    rules = load_catalogue(ROOT).content
    rows = [row for row in rules.exceptions.values() if row.rule == content.FOREIGN]
    outside_archives = {path: row.reason for row in rows for path in row.paths if "!" not in path}
    assert outside_archives == check_elf["AS_DATA"]
    assert set(check_elf["OF_DEVICES"]) == layer.DEVICES
