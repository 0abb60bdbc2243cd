"""`invoke lock --check`: states, messages, exit codes; nothing is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from dynamo_containers import process
from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE, load_catalogue
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock.check import LockCheck, LockState
from dynamo_containers.lock.selection import select
from tests import checkout_copy
from tests.unit.conftest import leave_locks_on_images
from tests.unit.snapshot import unchanged

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.result import Result


def states(result: Result) -> dict[str, LockState]:
    """Return name -> state of the locks of a result."""
    assert isinstance(result.data, LockCheck)
    return {lock.name: lock.state for lock in result.data.locks}


def require_another_tool(checkout: Path) -> None:
    with (checkout / "requirements/tools.in").open("a", encoding="utf-8") as file:
        file.write("one-more\n")


def without_rows(checkout: Path) -> None:
    """Remove the rows about locks that are knowingly missing."""
    images = checkout / IMAGES_FILE
    images.write_text(checkout_copy.without_known_gaps(images.read_text(encoding="utf-8")), encoding="utf-8")


def test_current_locks_are_reported_so(own_checkout: Path) -> None:
    without_rows(own_checkout)
    catalogue = load_catalogue(own_checkout)
    leave_locks_on_images(catalogue)
    result = lock_check.check(catalogue, select(["os", "images"]))
    assert (result.text, result.exit_code) == ("Every lock is current (os, images).", 0)
    assert set(states(result).values()) == {LockState.CURRENT}
    result = lock_check.check(catalogue, select(["python"], images=["frontend", "vllm", "sglang"]))
    assert (result.text, result.exit_code) == ("Every lock is current (python).", 0)


def test_this_project_s_own_gaps_are_all_known_and_reported_with_their_reasons(own_checkout: Path) -> None:
    catalogue = load_catalogue(own_checkout)
    result = lock_check.check(catalogue)
    assert result.exit_code == 0
    head, *lines = result.text.splitlines()
    assert head == "Every lock that exists is current (archives, os, images, python, contents)."
    assert len(lines) == len(catalogue.not_locked)
    for line, row in zip(lines, catalogue.not_locked.values(), strict=True):
        assert line.startswith(f"Not locked, knowingly, because {row.reason} (containers/images.toml: lock.not-locked.")
        assert f"Until {row.until}. {row.locks[0]} and {len(row.locks) - 1} more." in line
    missing = {lock["name"]: lock for lock in json.loads(result.json())["locks"] if lock["state"] == "not locked"}
    assert missing.keys() == {lock for row in catalogue.not_locked.values() for lock in row.locks}
    row = catalogue.not_locked["cuda-os"]
    assert missing[row.locks[0]]["reasons"] == [row.reason]
    assert missing[row.locks[0]]["until"] == row.until
    assert "nvcr.io" in missing[row.locks[0]]["needs"]


def test_a_gap_that_no_row_names_is_exit_code_10_beside_the_known_ones(own_checkout: Path) -> None:
    images = own_checkout / IMAGES_FILE
    text = images.read_text(encoding="utf-8")
    images.write_text(text.replace('    "constraints/os-cuda-mpi-arm64.txt",\n', ""), encoding="utf-8")
    result = lock_check.check(load_catalogue(own_checkout))
    assert result.exit_code == 10
    assert "1 lock was never made and could not be checked:" in result.text
    assert "\n  constraints/os-cuda-mpi-arm64.txt  " in result.text
    assert "\nNot locked, knowingly, because" in result.text


@pytest.mark.parametrize("kinds", [[], ["os"]], ids=["of everything", "of one kind"])
def test_a_row_about_a_lock_that_exists_is_refused(own_checkout: Path, kinds: list[str]) -> None:
    catalogue = load_catalogue(own_checkout)
    leave_locks_on_images(catalogue)
    with pytest.raises(
        UsageError, match=r"lock\.not-locked\.cuda-os: \S+-compiler-amd64.txt is locked by now \(and 13 more"
    ):
        lock_check.check(catalogue, select(kinds))
    assert lock_check.check(catalogue, select(["images"])).exit_code == 0


def test_a_row_about_a_lock_that_nothing_needs_is_refused(own_checkout: Path) -> None:
    images = own_checkout / IMAGES_FILE
    text = images.read_text(encoding="utf-8").replace('"sources.ucx"]', '"sources.ucs"]')
    images.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"git-sources: sources\.ucs is not the name of a lock or pin\.\n"):
        lock_check.check(load_catalogue(own_checkout))


def test_locks_that_were_never_made_are_listed_plainly_when_all_others_are_current(own_checkout: Path) -> None:
    without_rows(own_checkout)
    result = lock_check.check(load_catalogue(own_checkout))
    assert result.exit_code == 10
    head, table_head, *rows, remedy = result.text.splitlines()
    number = len(rows)
    assert head == (
        f"Every lock that exists is current (archives, os, images, python, contents). {number} locks were never "
        "made and could not be checked:"
    )
    assert table_head.split(maxsplit=1) == ["lock", "needs access to"]
    (trtllm,) = [row for row in rows if "constraints/trtllm-cuda-arm64.txt" in row]
    assert trtllm.split() == ["constraints/trtllm-cuda-arm64.txt", "https://pypi.nvidia.com"]
    assert remedy == "Where these addresses or mirrors of them can be reached, run: invoke lock"
    assert list(states(result).values()).count(LockState.NEVER_MADE) == number
    assert "error" not in result.text


def test_a_stale_lock_is_reported_instead_of_those_that_were_never_made(own_checkout: Path) -> None:
    require_another_tool(own_checkout)
    result = lock_check.check(load_catalogue(own_checkout))
    assert result.exit_code == 4
    assert result.text.startswith("1 lock is not current:\nconstraints/tools.txt is stale: requirements/tools.in or ")
    assert result.text.endswith("Update it with: invoke lock")


def test_a_line_that_decides_a_lock_from_outside_is_refused_by_file_and_line(own_checkout: Path) -> None:
    with (own_checkout / "requirements/vllm.in").open("a", encoding="utf-8") as file:
        file.write("--extra-index-url https://a.invalid/simple\n")
    number = len((own_checkout / "requirements/vllm.in").read_text(encoding="utf-8").splitlines())
    with pytest.raises(UsageError, match=rf"^requirements/vllm\.in:{number}: `--extra-index-url https"):
        lock_check.check(load_catalogue(own_checkout))


def test_the_check_names_everything_that_is_stale_at_once(own_checkout: Path) -> None:
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    require_another_tool(own_checkout)
    pins = own_checkout / PINS_FILE
    pins.write_text(pins.read_text(encoding="utf-8").replace("[programs.debian.etcd.", "[programs.debian.etc."))
    result = lock_check.check(load_catalogue(own_checkout))
    assert result.text.startswith("4 locks are not current:\n")
    assert "constraints/tools.txt is stale" in result.text
    assert "constraints/os-debian-runtime-arm64.txt is missing" in result.text
    assert "containers/pins.toml has no programs.debian.etcd for linux/amd64" in result.text
    assert result.text.count("invoke lock") == 4
    outdated = {name: state for name, state in states(result).items() if state in ("stale", "missing")}
    assert outdated == {
        "programs.debian.etcd for linux/amd64": LockState.MISSING,
        "programs.debian.etcd for linux/arm64": LockState.MISSING,
        "constraints/os-debian-runtime-arm64.txt": LockState.MISSING,
        "constraints/tools.txt": LockState.STALE,
    }


def test_the_check_of_one_kind_ignores_others(own_checkout: Path) -> None:
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    assert lock_check.check(load_catalogue(own_checkout), select(["images"])).exit_code == 0


def test_the_check_of_a_selection_ignores_other_locks(own_checkout: Path) -> None:
    (own_checkout / "constraints/frontend-debian-arm64.txt").unlink()
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    without_rows(own_checkout)
    catalogue = load_catalogue(own_checkout)
    leave_locks_on_images(catalogue)
    frontend = select(images=["frontend"], platforms=["linux/amd64"])
    assert lock_check.check(catalogue, frontend).exit_code == 0
    assert lock_check.check(catalogue, select(["os", "images"], bases=["cuda"])).exit_code == 0
    for kind, file in (("python", "frontend-debian-arm64"), ("os", "os-debian-runtime-arm64")):
        result = lock_check.check(catalogue, select([kind], images=["frontend"]))
        assert result.exit_code == 4
        assert f"\nconstraints/{file}.txt is missing" in result.text


def test_sources_that_were_never_locked_are_named_when_all_others_are_current(own_checkout: Path) -> None:
    without_rows(own_checkout)
    catalogue = load_catalogue(own_checkout)
    result = lock_check.check(catalogue, select(["archives"]))
    assert result.exit_code == 10
    rows = [line.split()[0] for line in result.text.splitlines()[2:-1]]
    assert rows == ["sources.dynamo", "sources.nixl", "sources.ucx"]
    assert lock_check.check(catalogue, select(["archives"], bases=["debian"])).exit_code == 0
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    assert lock_check.check(catalogue).exit_code == 4


def test_a_source_that_is_pinned_to_another_name_is_stale(own_checkout: Path) -> None:
    with (own_checkout / PINS_FILE).open("a", encoding="utf-8") as file:
        file.write(f'\n[sources.dynamo]\nref = "v1.4.1"\ncommit = "{"c" * 40}"\n')
    result = lock_check.check(load_catalogue(own_checkout), select(["archives"]))
    assert result.exit_code == 4
    assert result.text == (
        "1 lock is not current:\n"
        "containers/pins.toml is stale: sources.dynamo is for v1.4.1, but containers/images.toml has v1.4.2.\n"
        "Pin it with: invoke lock --only archives"
    )


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        pytest.param(
            'version = "3.5.21"',
            'version = "3.5.22"',
            "archives",
            "programs.cuda.etcd for linux/arm64 is for ",
            id="version",
        ),
        pytest.param("13.0.2-runtime", "13.0.3-runtime", "images", "roots.cuda.runtime is for nvcr.io", id="tag"),
    ],
)
def test_a_pin_of_another_version_or_tag_than_the_data_names_is_stale(
    own_checkout: Path, old: str, new: str, kind: str, message: str
) -> None:
    images = own_checkout / IMAGES_FILE
    images.write_text(images.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    result = lock_check.check(load_catalogue(own_checkout), select([kind]))
    assert result.exit_code == 4
    assert f"containers/pins.toml is stale: {message}" in result.text
    assert f"invoke lock --only {kind}" in result.text


def test_the_data_have_every_lock_with_state_reasons_and_command(own_checkout: Path) -> None:
    require_another_tool(own_checkout)
    result = lock_check.check(load_catalogue(own_checkout), select(["python"], images=["frontend"]))
    locks = {lock["name"]: lock for lock in json.loads(result.json())["locks"]}
    assert locks["constraints/frontend-debian-amd64.txt"] == {
        "kind": "python",
        "name": "constraints/frontend-debian-amd64.txt",
        "state": "current",
        "reasons": [],
        "command": "",
        "needs": "",
        "until": "",
    }
    result = lock_check.check(load_catalogue(own_checkout), select(["python"]))
    locks = {lock["name"]: lock for lock in json.loads(result.json())["locks"]}
    tools = locks["constraints/tools.txt"]
    assert (tools["state"], tools["command"]) == ("stale", "invoke lock --only python")
    assert tools["reasons"][0].startswith("constraints/tools.txt is stale: ")
    never_made = locks["constraints/trtllm-cuda-amd64.txt"]
    assert (never_made["state"], never_made["needs"]) == ("not locked", "https://pypi.nvidia.com")


def test_the_schema_explains_every_field() -> None:
    definitions = msgspec.json.schema(LockCheck)["$defs"]
    assert definitions["LockState"]["enum"] == ["current", "missing", "never made", "not locked", "stale"]
    assert set(definitions["LockKind"]["enum"]) == {kind.value for kind in LockKind}
    assert definitions["LockStatus"]["description"] == "State of one lock or pin."


def test_the_check_writes_nothing(own_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        message = "the check wrote something"
        raise AssertionError(message)

    for verb in ("write", "replace_file"):
        monkeypatch.setattr(process, verb, refuse)
    with unchanged(own_checkout):
        assert lock_check.check(load_catalogue(own_checkout)).exit_code == 0
