"""Verification of a Python lock by uv, which shares no code with pip-compile."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import progress
from dynamo_containers.errors import CheckFailedError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.locks.python_lock import ANY_HOST
from dynamo_containers.facts.locks.requirements import COMMAND, read
from dynamo_containers.platforms import Platform
from dynamo_containers.process import Command, Document, Plan, query, run, succeeds, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamo_containers.facts.locks.python_lock import LockFile, Target

AT_ONCE = 4
"""Locks judged at the same time: uv mostly waits for the index."""
WITHOUT_DOWNLOADS = {"UV_PYTHON_DOWNLOADS": "never"}
"""A target's Python need not be here, and uv would try for seconds to fetch one."""
YANKED = re.compile(r'^warning: `(\S+==\S+)` is yanked(?: \(reason: "(.*)"\))?$', re.MULTILINE)


def judges(lock: LockFile, folder: Path) -> tuple[Command, ...]:
    """Return the commands by which uv, which shares no code with pip-compile, judges a lock for its target.

    uv resolves everything anew, downloads nothing and installs nothing: a package that is missing, or has no wheel for
    the target, is an error. Its dry run does not compare hashes (uv 0.13.9); `restate` and `foreign_hashes` do. It uses
    uv's own settings (UV_DEFAULT_INDEX, SSL_CERT_FILE), not pip's.
    """
    nothing = folder / ".build/empty-environment" / Path(lock.path).stem  # uv locks it: one for each that it judges
    # The wheels of a base have dependencies that are in no lock of that environment, and what is shared is no whole.
    alone = lock.layer.named_only or bool(lock.parts)
    files = (*(lower.path for lower in lock.below if not (alone or lower.layer.named_only)), lock.path)
    shared = (lock.shared,) if lock.shared else ()
    return tuple(
        Command(
            argv=(
                *("uv", "pip", "install", "--dry-run", "--target", str(nothing)),
                *_uv_target(target),
                *("--require-hashes", "--only-binary", ":all:"),
                *(word for name in lock.compiled for word in ("--no-binary", name)),
                *(("--no-deps",) if alone else ()),
                *_own_indexes(lock),
                *(word for path in (*shared, *files) for word in ("-r", str(folder / path))),
            ),
            env=WITHOUT_DOWNLOADS,
            quiet=True,
            title=f"judging {lock.path}",
            hint=f"uv refuses {lock.path} for {target}. Renew it with: {COMMAND}",
        )
        for target in _judged_for(lock)
    )


def _own_indexes(lock: LockFile) -> tuple[str, ...]:
    """Return the words by which uv also asks the indexes of their own that packages of a lock have.

    uv takes a package from the first index that has any release of it, and such an index has other packages too. What
    is looked for is in the lock by hash, so any index may have it.
    """
    addresses = sorted({mirrors.here().address(url) for _, url in lock.indexes})
    words = (word for address in addresses for word in ("--index", address))
    return (*words, "--index-strategy", "unsafe-best-match") if addresses else ()


def _uv_target(target: Target) -> tuple[str, ...]:
    return ("--python-platform", target.uv_platform, "--python-version", target.python)


def _judged_for(lock: LockFile) -> tuple[Target, ...]:
    if lock.target != ANY_HOST:
        return (lock.target,)
    return tuple(replace(lock.target, platform=platform) for platform in Platform)


def packs(locks: Mapping[LockFile, str]) -> tuple[tuple[Target, str, dict[str, str]], ...]:
    """Return what the locks pin in as few sets as there can be.

    A set is for one target and one index ('' for the machine's own), and has no package in two versions.
    """
    made: list[tuple[Target, str, dict[str, str]]] = []
    for lock, text in locks.items():
        own = dict(lock.indexes)
        for pin in read(text, lock.path):
            asked = lock.target, own.get(pin.name, "")
            fits = (
                pack for *place, pack in made if tuple(place) == asked and pack.get(pin.name) in (None, pin.version)
            )
            pack = next(fits, None)
            if pack is None:
                pack = {}
                made.append((*asked, pack))
            pack[pin.name] = pin.version
    return tuple(made)


def restate(target: Target, pins: Mapping[str, str], file: Path, index: str = "") -> Plan:
    """Return the plan by which uv states, from an index, the hashes of pinned packages (on standard output)."""
    text = "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))
    place = ("--default-index", mirrors.here().address(index)) if index else ()
    argv = (
        *("uv", "pip", "compile", "--no-deps", "--generate-hashes", "--no-header"),
        *("--no-annotate", *_uv_target(target), *place, str(file)),
    )
    return Plan(documents=(Document(path=file, text=text),), commands=(Command(argv=argv, env=WITHOUT_DOWNLOADS),))


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What the index says of pinned packages, as uv reads it."""

    hashes: Mapping[tuple[str, str], frozenset[str]]
    """(name, version) -> the hashes of its files."""
    yanked: Mapping[str, str]
    """`name==version` -> why it was taken back."""


def stated(restated: str, complaints: str) -> Stated:
    """Read what uv wrote to its two outputs."""
    return Stated(
        hashes={(each.name, each.version): frozenset(each.hashes) for each in read(restated)},
        yanked={pin: reason or "no reason given" for pin, reason in YANKED.findall(complaints)},
    )


def foreign_hashes(text: str, known: Iterable[Stated]) -> tuple[str, ...]:
    """Return the pins of a lock that have a hash which uv did not find on the index for that version."""
    hashes: dict[tuple[str, str], frozenset[str]] = {}
    for each in known:
        hashes |= each.hashes
    return tuple(
        f"{each.name}=={each.version}"
        for each in read(text)
        if not set(each.hashes) <= hashes.get((each.name, each.version), frozenset())
    )


def yanked(text: str, known: Iterable[Stated]) -> tuple[str, ...]:
    """Return the pins of a lock that were taken back, as `name==version: reason`."""
    reasons: dict[str, str] = {}
    for each in known:
        reasons |= each.yanked
    pins = (f"{each.name}=={each.version}" for each in read(text))
    return tuple(f"{pin}: {reasons[pin]}" for pin in pins if pin in reasons)


def judge_all(every: Iterable[LockFile], folder: Path) -> None:
    """Let uv judge some locks at a time, and say so in their order; stop at the first that it refuses.

    Raises:
        CommandFailedError: uv could not be run, or it refuses a lock.
        CheckFailedError: a lock has a hash that the index does not know.
    """
    from concurrent.futures import ThreadPoolExecutor

    texts = {lock: (folder / lock.path).read_text(encoding="utf-8") for lock in every}
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        numbered = enumerate(packs(texts))
        asked = [
            (target, pool.submit(_state, target, pins, folder / f".build/lock/judged-{number}.in", index))
            for number, (target, index, pins) in numbered
        ]
        try:
            known = [(target, future.result()) for target, future in asked]
            verdicts = [(lock, pool.submit(_accept, lock, folder)) for lock in texts]
            for lock, verdict in verdicts:
                verdict.result()
                _report(lock, texts[lock], [each for target, each in known if target == lock.target])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _state(target: Target, pins: Mapping[str, str], file: Path, index: str) -> Stated:
    plan = restate(target, pins, file, index)
    write(plan.documents[0])
    said = query(plan.commands[0], check=True)
    return stated(said.stdout, said.stderr)


def _accept(lock: LockFile, folder: Path) -> None:
    """Let uv resolve a lock, from the pages that it was just given where they are enough: it asks for each again."""
    for command in judges(lock, folder):
        if not succeeds(replace(command, argv=(*command.argv, "--offline"))):
            run(command)


def _report(lock: LockFile, text: str, known: list[Stated]) -> None:
    if foreign := foreign_hashes(text, known):
        message = f"{lock.path}: the index does not know the hashes of {', '.join(foreign)}.\nRenew it with: {COMMAND}"
        raise CheckFailedError(message)
    lines = (f"Judged {lock.path}", *(f"{lock.path}: yanked: {each}" for each in yanked(text, known)))
    progress.say("\n".join(lines))
