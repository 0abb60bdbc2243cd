"""Does uv, which shares no code with pip-compile, accept a Python lock for its target?"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import CheckFailedError
from dynamo_containers.platforms import Platform
from dynamo_containers.python_lock import ANY_HOST
from dynamo_containers.python_pins import COMMAND, read
from dynamo_containers.run import Command, Document, Plan, call, outputs, write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.python_lock import LockFile, Target

AT_ONCE = 4
"""Locks judged at the same time: uv mostly waits for the index."""
YANKED = re.compile(r'^warning: `(\S+==\S+)` is yanked(?: \(reason: "(.*)"\))?$', re.MULTILINE)


def judges(lock: LockFile, folder: Path) -> tuple[Command, ...]:
    """Return the commands by which uv, which shares no code with pip-compile, judges a lock for its target.

    uv resolves everything anew, downloads nothing and installs nothing: a package that is missing, or has no wheel for
    the target, is an error. Its dry run does not compare hashes (uv 0.13.9); `restate` and `foreign_hashes` do. It uses
    uv's own settings (UV_DEFAULT_INDEX, SSL_CERT_FILE), not pip's.
    """
    nothing = folder / ".build/empty-environment" / Path(lock.path).stem  # uv locks it: one for each that it judges
    files = (*(lower.path for lower in lock.below if not lower.layer.named_only), lock.path)
    return tuple(
        Command(
            argv=(
                *("uv", "pip", "install", "--dry-run", "--target", str(nothing)),
                *_uv_target(target),
                *("--require-hashes", "--only-binary", ":all:"),
                *(("--no-deps",) if lock.layer.named_only else ()),
                *(word for path in files for word in ("-r", str(folder / path))),
            ),
            quiet=True,
            hint=f"uv refuses {lock.path} for {target}. Renew it with: {COMMAND}",
        )
        for target in _judged_for(lock)
    )


def _uv_target(target: Target) -> tuple[str, ...]:
    return ("--python-platform", target.uv_platform, "--python-version", target.python)


def _judged_for(lock: LockFile) -> tuple[Target, ...]:
    if lock.target != ANY_HOST:
        return (lock.target,)
    return tuple(replace(lock.target, platform=platform) for platform in Platform)


def restate(lock: LockFile, text: str, folder: Path) -> Plan:
    """Return the plan by which uv states, from the index, the hashes of what a lock pins (on standard output)."""
    pins = folder / ".build/lock" / Path(lock.path).with_suffix(".in").name
    return Plan(
        documents=(Document(path=pins, text="".join(f"{each.name}=={each.version}\n" for each in read(text))),),
        commands=(
            Command(
                argv=(
                    *("uv", "pip", "compile", "--no-deps", "--generate-hashes", "--no-header"),
                    *("--no-annotate", *_uv_target(lock.target), str(pins)),
                )
            ),
        ),
    )


def foreign_hashes(text: str, restated: str) -> tuple[str, ...]:
    """Return the pins of a lock that have a hash which uv did not find on the index for that version."""
    known = {(each.name, each.version): set(each.hashes) for each in read(restated)}
    return tuple(
        f"{each.name}=={each.version}"
        for each in read(text)
        if not set(each.hashes) <= known.get((each.name, each.version), set())
    )


def yanked(complaints: str) -> tuple[str, ...]:
    """Return what uv says was taken back, as `name==version: reason`."""
    return tuple(f"{pin}: {reason or 'no reason given'}" for pin, reason in sorted(YANKED.findall(complaints)))


def judge(lock: LockFile, folder: Path) -> tuple[str, ...]:
    """Let uv judge a lock: all there, a wheel for each, every hash known to the index; return what was taken back.

    Raises:
        CommandFailedError: uv could not be run, or it refuses the lock.
        CheckFailedError: the lock has a hash that the index does not know.
    """
    text = (folder / lock.path).read_text(encoding="utf-8")
    for command in judges(lock, folder):
        call(command)
    restating = restate(lock, text, folder)
    write(restating.documents[0])
    restated = outputs(restating.commands[0])
    foreign = foreign_hashes(text, restated.stdout)
    if foreign:
        message = f"{lock.path}: the index does not know the hashes of {', '.join(foreign)}.\nRenew it with: {COMMAND}"
        raise CheckFailedError(message)
    return yanked(restated.stderr)


def judge_all(every: Iterable[LockFile], folder: Path) -> None:
    """Let uv judge some locks at a time, and say so in their order; stop at the first that it refuses.

    Raises:
        CommandFailedError, CheckFailedError: see `judge`; those that nobody has begun with are left alone.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        verdicts = [(lock, pool.submit(judge, lock, folder)) for lock in every]
        try:
            for lock, verdict in verdicts:
                found = verdict.result()
                lines = (f"Judged {lock.path}", *(f"{lock.path}: yanked: {each}" for each in found))
                print("\n".join(lines), file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
