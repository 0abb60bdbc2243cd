"""User, working directory and writable folders of a runtime: as `dynamo` and as a user without a name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

WRITABLE_FOR_THE_GROUP = {"/workspace": "664 0", "/home/dynamo": "664 0", "/tmp": "664 0"}


def test_it_runs_as_dynamo_with_group_zero(probe: Mapping[str, Any], inspected: Mapping[str, Any]) -> None:
    assert inspected["Config"]["User"] == "1000:0"
    assert {key: probe["user"][key] for key in ("uid", "gid", "groups", "name", "home")} == {
        "uid": 1000,
        "gid": 0,
        "groups": [0],
        "name": "dynamo",
        "home": "/home/dynamo",
    }


def test_it_starts_in_the_workspace(probe: Mapping[str, Any]) -> None:
    assert probe["user"]["cwd"] == "/workspace"


def test_what_it_writes_is_writable_for_group_zero(probe: Mapping[str, Any]) -> None:
    assert probe["user"]["umask"] == "002"
    assert probe["user"]["writes"] == WRITABLE_FOR_THE_GROUP


def test_shells_that_are_started_beside_the_entry_point_have_the_same_umask(probe: Mapping[str, Any]) -> None:
    assert probe["shells"] == {"login": ["0002"], "interactive": ["0002"]}


def test_an_arbitrary_user_has_a_name_and_a_home(arbitrary_user_probe: Mapping[str, Any]) -> None:
    user = arbitrary_user_probe["user"]
    assert (user["uid"], user["gid"]) == (1000790000, 0)
    assert user["name"] == "dynamo"  # getpass.getuser() raises KeyError where there is none
    assert user["home"] == "/home/dynamo"


def test_an_arbitrary_user_writes_where_dynamo_does(arbitrary_user_probe: Mapping[str, Any]) -> None:
    assert arbitrary_user_probe["user"]["umask"] == "002"
    assert arbitrary_user_probe["user"]["writes"] == WRITABLE_FOR_THE_GROUP


def test_with_a_read_only_root_its_home_is_below_tmp(read_only_probe: Mapping[str, Any]) -> None:
    user = read_only_probe["user"]
    assert user["home"] == "/tmp/home"
    assert user["writes"]["/tmp/home"] == "664 0"
    assert re.fullmatch("error: .*Read-only file system.*", user["writes"]["/workspace"])
