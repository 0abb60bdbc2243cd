"""Exit codes: a script can tell the kinds of failure apart."""

from __future__ import annotations

import signal

import pytest

from dynamo_containers import errors
from dynamo_containers.errors import CommandFailedError, DownloadError, FatalError, LockError, UsageError, unknown_name
from dynamo_containers.facts.catalogue import ROOT


def test_every_kind_of_failure_has_its_own_exit_code() -> None:
    kinds = {name: kind.exit_code for name, kind in vars(errors).items() if name.endswith("Error")}
    assert kinds == {
        "FatalError": 1,
        "CheckFailedError": 1,
        "UsageError": 2,
        "NoEngineError": 3,
        "LockError": 4,
        "NotLockedError": 4,
        "DownloadError": 5,
        "NoSpaceError": 6,
        "CommandFailedError": 7,
        "BusyError": 8,
        "UnsupportedHostError": 9,
        "UnreachableError": 10,
    }


def test_no_exit_code_is_shared_but_that_of_the_common_class() -> None:
    # What tests define of their own, for a smoke test that could not check, is no kind of the library.
    codes = [kind.exit_code for kind in FatalError.__subclasses__() if kind.__module__ == errors.__name__]
    assert len(set(codes)) == len(codes)
    assert not {errors.HUNG_UP, errors.INTERRUPTED, errors.TERMINATED} & {*codes}
    assert 0 not in codes


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [
        pytest.param(2, UsageError, id="usage"),
        pytest.param(4, LockError, id="lock"),
        pytest.param(5, DownloadError, id="download"),
        pytest.param(1, CommandFailedError, id="a bug's traceback"),
        pytest.param(-9, CommandFailedError, id="killed"),
        pytest.param(77, CommandFailedError, id="no code of ours"),
    ],
)
def test_the_exit_code_of_our_own_process_says_which_kind_of_failure_it_was(
    exit_code: int, kind: type[FatalError]
) -> None:
    assert errors.kind_of(exit_code) is kind


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(
            "frontent",
            'unknown image "frontent" (choose from: base, frontend, vllm)\nDid you mean frontend?',
            id="mistyped",
        ),
        pytest.param(
            "VLLM", 'unknown image "VLLM" (choose from: base, frontend, vllm)\nDid you mean vllm?', id="upper case"
        ),
        pytest.param("xyz", 'unknown image "xyz" (choose from: base, frontend, vllm)', id="nothing is close"),
        pytest.param("", 'unknown image "" (choose from: base, frontend, vllm)', id="empty"),
    ],
)
def test_an_unknown_name_is_answered_with_the_names_that_exist_and_the_closest(name: str, message: str) -> None:
    assert str(unknown_name("image", name, ("base", "frontend", "vllm"))) == message


@pytest.mark.parametrize("name", ["arm64", "Arm64", "linux/arm", "aarm64"])
def test_the_last_part_of_a_name_is_enough_to_suggest_it(name: str) -> None:
    assert str(unknown_name("platform", name, ("linux/amd64", "linux/arm64"))).endswith("Did you mean linux/arm64?")


def test_an_unknown_name_where_none_exists_and_a_hint() -> None:
    assert str(unknown_name("index", "x", (), "Define it below [indexes].")) == (
        'unknown index "x" (none is defined)\nDefine it below [indexes].'
    )


def test_the_page_of_errors_has_every_exit_code() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    documented = {int(line.split("|")[1]) for line in page.splitlines() if line[:2] == "| " and line[2].isdigit()}
    sigpipe = 128 + signal.SIGPIPE
    kinds = {kind.exit_code for kind in FatalError.__subclasses__() if kind.__module__ == errors.__name__}
    assert documented == {0, errors.HUNG_UP, errors.INTERRUPTED, errors.TERMINATED, sigpipe, *kinds}
