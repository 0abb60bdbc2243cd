"""Does uv, which shares no code with pip-compile, accept a Python lock for its target?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import CheckFailedError
from dynamo_containers.platforms import Platform
from dynamo_containers.python_lock import ANY_HOST
from dynamo_containers.python_pins import COMMAND, read
from dynamo_containers.run import Command, Document, Plan, call, capture, write

if TYPE_CHECKING:
    from dynamo_containers.python_lock import LockFile, Target


def judges(lock: LockFile, folder: Path) -> tuple[Command, ...]:
    """Return the commands by which uv, which shares no code with pip-compile, judges a lock for its target.

    uv resolves everything anew, downloads nothing and installs nothing: a package that is missing, or has no wheel for
    the target, is an error. Its dry run does not compare hashes (uv 0.13.9); `restate` and `foreign_hashes` do. It uses
    uv's own settings (UV_DEFAULT_INDEX, SSL_CERT_FILE), not pip's.
    """
    files = (*(lower.path for lower in lock.below if not lower.layer.named_only), lock.path)
    return tuple(
        Command(
            argv=(
                *("uv", "pip", "install", "--dry-run", "--target", str(folder / ".build/empty-environment")),
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
                    *("uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header"),
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


def judge(lock: LockFile, folder: Path) -> None:
    """Let uv judge a lock: all there, a wheel for each, every hash known to the index.

    Raises:
        CommandFailedError: uv could not be run, or it refuses the lock.
        CheckFailedError: the lock has a hash that the index does not know.
    """
    text = (folder / lock.path).read_text(encoding="utf-8")
    for command in judges(lock, folder):
        call(command)
    restating = restate(lock, text, folder)
    write(restating.documents[0])
    foreign = foreign_hashes(text, capture(restating.commands[0]))
    if foreign:
        message = f"{lock.path}: the index does not know the hashes of {', '.join(foreign)}.\nRenew it with: {COMMAND}"
        raise CheckFailedError(message)
