"""Verification of Python locks with uv, which shares no code with pip-compile."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.errors import CheckFailedError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.locks.python_lock import ANY_HOST
from dynamo_containers.facts.locks.requirements import COMMAND, read, read_file
from dynamo_containers.platforms import Platform
from dynamo_containers.process import Command, Document, Plan, query, run, succeeds, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Executor, Future

    from dynamo_containers.facts.locks.python_lock import LockFile, LockTarget

PARALLEL_CHECKS = 4
"""Locks verified in parallel: uv mostly waits for the index."""
UV_SETTINGS = {
    "UV_PYTHON_DOWNLOADS": "never",
    **dict.fromkeys(("UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"), ""),
    **dict.fromkeys(("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE"), ""),
    "UV_NO_VERIFY_HASHES": "false",  # this one may not be empty
    **dict.fromkeys(("UV_NO_BINARY", "UV_ONLY_BINARY", "UV_NO_BUILD"), ""),
    "UV_PRERELEASE": "if-necessary-or-explicit",
    "UV_RESOLUTION": "highest",
}
"""Settings of the user that would decide a verdict have uv's own defaults here; the index is the user's.

The target's Python need not be installed here, and uv would try for seconds to download one.
"""
YANKED = re.compile(r'^warning: `(\S+==\S+)` is yanked(?: \(reason: "(.*)"\))?$', re.MULTILINE)


def verify_commands(lock: LockFile, folder: Path, scratch: Path) -> tuple[Command, ...]:
    """Return the commands by which uv verifies a lock for its targets.

    uv resolves everything again, downloads nothing and installs nothing: a package that is missing, or has no wheel for
    the target, is an error. Its dry run does not compare hashes (uv 0.13.9); `hashes_command` and `foreign_hashes` do.
    The index is that of uv's own settings (UV_DEFAULT_INDEX, SSL_CERT_FILE), not of pip's.
    """
    environment = scratch / "environment" / Path(lock.path).stem  # uv locks this folder, so each lock has its own
    # The dependencies of named wheels are in no lock of that environment, and those of a shared lock in several.
    without_dependencies = lock.layer.named_only or bool(lock.shared_by)
    files = (
        *(lower.path for lower in lock.lower if not (without_dependencies or lower.layer.named_only)),
        lock.path,
    )
    shared = (lock.shared,) if lock.shared else ()
    return tuple(
        Command(
            argv=(
                *("uv", "pip", "install", "--dry-run", "--target", str(environment)),
                *_target_options(target),
                *("--require-hashes", "--only-binary", ":all:"),
                *(option for name in lock.compiled for option in ("--no-binary", name)),
                *(("--no-deps",) if without_dependencies else ()),
                *_index_options(lock),
                *(option for path in (*shared, *files) for option in ("-r", str(folder / path))),
            ),
            env=UV_SETTINGS,
            quiet=True,
            title=f"verifying {lock.path}",
            hint=f"uv refuses {lock.path} for {target}. Update it with: {COMMAND}",
        )
        for target in _verified_targets(lock)
    )


def _index_options(lock: LockFile) -> tuple[str, ...]:
    """Return the options by which uv also queries the indexes that packages of a lock have of their own.

    uv takes a package from the first index that has any release of it, and such an index has other packages too. The
    lock pins files by hash, so any index may have them.
    """
    addresses = sorted({mirrors.configured().address(url) for _, url in lock.indexes})
    options = (option for address in addresses for option in ("--index", address))
    return (*options, "--index-strategy", "unsafe-best-match") if addresses else ()


def _target_options(target: LockTarget) -> tuple[str, ...]:
    return ("--python-platform", target.uv_platform, "--python-version", target.python)


def _verified_targets(lock: LockFile) -> tuple[LockTarget, ...]:
    if lock.target != ANY_HOST:
        return (lock.target,)
    return tuple(replace(lock.target, platform=platform) for platform in Platform)


@dataclass(frozen=True, kw_only=True)
class PinSet:
    """Pins that one query can ask for: of one target and one index, no package in two versions."""

    target: LockTarget
    index: str
    """Address of the index; '' for the machine's own."""
    pins: Mapping[str, str]
    """Package -> version."""


def pin_sets(locks: Mapping[LockFile, str]) -> tuple[PinSet, ...]:
    """Return the pins of all locks (lock -> its text) in as few sets as possible."""
    sets: list[tuple[LockTarget, str, dict[str, str]]] = []
    for lock, text in locks.items():
        indexes = dict(lock.indexes)
        for package in read(text, lock.path):
            origin = lock.target, indexes.get(package.name, "")
            fitting = (
                pins
                for *set_origin, pins in sets
                if tuple(set_origin) == origin and pins.get(package.name) in (None, package.version)
            )
            pins = next(fitting, None)
            if pins is None:
                pins = {}
                sets.append((*origin, pins))
            pins[package.name] = package.version
    return tuple(PinSet(target=target, index=index, pins=pins) for target, index, pins in sets)


def hashes_command(pin_set: PinSet, file: Path) -> Plan:
    """Return the plan by which uv writes the hashes of pinned packages to standard output, as the index states them."""
    text = "".join(f"{name}=={version}\n" for name, version in sorted(pin_set.pins.items()))
    index_options = ("--default-index", mirrors.configured().address(pin_set.index)) if pin_set.index else ()
    argv = (
        *("uv", "pip", "compile", "--no-deps", "--generate-hashes", "--no-header"),
        *("--no-annotate", *_target_options(pin_set.target), *index_options, str(file)),
    )
    return Plan(documents=(Document(path=file, text=text),), commands=(Command(argv=argv, env=UV_SETTINGS),))


@dataclass(frozen=True, kw_only=True)
class IndexAnswer:
    """Statements of the index about pinned packages, as uv reads them."""

    hashes: Mapping[tuple[str, str], frozenset[str]]
    """(name, version) -> the hashes of its files."""
    yanked: Mapping[str, str]
    """`name==version` -> why it was yanked."""


def parse_answer(output: str, warnings: str) -> IndexAnswer:
    """Parse the standard output and the standard error of uv."""
    return IndexAnswer(
        hashes={(package.name, package.version): frozenset(package.hashes) for package in read(output)},
        yanked={pin: reason or "no reason given" for pin, reason in YANKED.findall(warnings)},
    )


def foreign_hashes(text: str, answers: Iterable[IndexAnswer]) -> tuple[str, ...]:
    """Return the pins of a lock that have a hash which the index does not state for that version."""
    hashes: dict[tuple[str, str], frozenset[str]] = {}
    for answer in answers:
        hashes |= answer.hashes
    return tuple(
        package.pin
        for package in read(text)
        if not set(package.hashes) <= hashes.get((package.name, package.version), frozenset())
    )


def yanked_pins(text: str, answers: Iterable[IndexAnswer]) -> tuple[str, ...]:
    """Return the pins of a lock that were yanked, as `name==version: reason`."""
    reasons: dict[str, str] = {}
    for answer in answers:
        reasons |= answer.yanked
    return tuple(f"{package.pin}: {reasons[package.pin]}" for package in read(text) if package.pin in reasons)


def verify_locks(locks: Iterable[LockFile], folder: Path) -> None:
    """Verify locks with uv, a few in parallel; report them in order and stop at the first that uv refuses.

    Nothing is written to the checkout.

    Raises:
        CommandFailedError: uv could not be run, or it refuses a lock.
        CheckFailedError: a lock has a hash that the index does not state.
    """
    from concurrent.futures import ThreadPoolExecutor

    texts = {lock: read_file(folder, lock.path) for lock in locks}
    with (
        TemporaryDirectory(prefix="verify-locks-") as scratch,
        ThreadPoolExecutor(max_workers=PARALLEL_CHECKS) as pool,
        progress.task(f"verifying {len(texts)} Python locks"),
    ):
        try:
            _verify(texts, folder, Path(scratch), pool)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # they use the scratch folder
            raise


def _verify(texts: Mapping[LockFile, str], folder: Path, scratch: Path, pool: Executor) -> None:
    queries = [
        (pin_set.target, pool.submit(_query_index, pin_set, scratch / f"pins-{number}.in"))
        for number, pin_set in enumerate(pin_sets(texts))
    ]
    answers = [(target, future.result()) for target, future in queries]
    verdicts: list[tuple[LockFile, Future[None]]] = [
        (lock, pool.submit(_resolve, lock, folder, scratch)) for lock in texts
    ]
    for lock, verdict in verdicts:
        verdict.result()
        _report(lock, texts[lock], [answer for target, answer in answers if target == lock.target])


def _query_index(pin_set: PinSet, file: Path) -> IndexAnswer:
    plan = hashes_command(pin_set, file)
    write(plan.documents[0])
    result = query(plan.commands[0], check=True)
    return parse_answer(result.stdout, result.stderr)


def _resolve(lock: LockFile, folder: Path, scratch: Path) -> None:
    """Let uv resolve a lock: from its cache first, because it would request every page again."""
    for command in verify_commands(lock, folder, scratch):
        if not succeeds(replace(command, argv=(*command.argv, "--offline"))):
            run(command)


def _report(lock: LockFile, text: str, answers: list[IndexAnswer]) -> None:
    if foreign := foreign_hashes(text, answers):
        pins = ", ".join(foreign)
        message = f"{lock.path}: the index does not state the hashes of {pins}.\nUpdate it with: {COMMAND}"
        raise CheckFailedError(message)
    yanked = (f"{lock.path}: yanked: {pin}" for pin in yanked_pins(text, answers))
    progress.say("\n".join((f"Verified {lock.path}", *yanked)))
