"""Exit codes: a script can tell the kinds of failure apart."""

from __future__ import annotations

from dynamo_containers import errors
from dynamo_containers.errors import FatalError


def test_every_kind_of_failure_has_its_own_exit_code() -> None:
    kinds = {name: kind.exit_code for name, kind in vars(errors).items() if name.endswith("Error")}
    assert kinds == {
        "FatalError": 1,
        "CheckFailedError": 1,
        "UsageError": 2,
        "NoEngineError": 3,
        "LockError": 4,
        "DownloadError": 5,
        "NoSpaceError": 6,
        "CommandFailedError": 7,
        "BusyError": 8,
        "UnsupportedHostError": 9,
        "UnreachedError": 10,
    }


def test_no_exit_code_is_shared_but_that_of_the_common_class() -> None:
    codes = [kind.exit_code for kind in FatalError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert errors.INTERRUPTED not in codes
    assert 0 not in codes
