"""pip-compile for a target that is not the machine it runs on; run as a child process.

pip-tools has no target platform (its issues 585, 1326, 2050) and asks the interpreter it runs on. Four things decide,
and this process sets them before it runs pip-compile:

- the marker environment of pip's vendored `packaging`,
- the Python version that pip's resolver compares `Requires-Python` with,
- the wheel tags of pip's finder,
- the indexes, links and options of pip's configuration: only how to reach the index is kept, never what to take.

Hashes are taken from the index, which states each file's sha256 (PEP 503, PEP 691): pip-compile itself asks the
JSON API of the index, which is no standard, and downloads every file when there is none. The result is the same.

All of this stands on internals of pip and pip-tools; constraints/tools.txt pins both, and a unit test fails when one of
the hook points is gone. Run as `python -m dynamo_containers.lock.python.compile LOCK` in the environment of the tools.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from click import Abort, ClickException
from pip._internal.configuration import Configuration
from pip._internal.exceptions import PipError
from pip._vendor.packaging import markers
from piptools.scripts import compile as pip_compile

from dynamo_containers.errors import INTERRUPTED, FatalError, LockError, UsageError
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.facts.locks.python_moves import Findings
from dynamo_containers.lock.python.cooldown import Cooldown
from dynamo_containers.lock.python.repository import TargetRepository, note_sizes
from dynamo_containers.lock.python.target import environment
from dynamo_containers.process import Document, write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.facts.locks.requirements import LockedPackage

HOW_TO_REACH_AN_INDEX = frozenset(
    {
        *("index-url", "cert", "client-cert", "proxy", "trusted-host", "keyring-provider", "use-feature"),
        *("timeout", "default-timeout", "retries"),
    }
)
"""The settings of pip that may differ from machine to machine without changing a lock."""


MAX_ROUNDS = 100
"""Each round drops a kept pin that no longer fits; pip-compile's own 10 are too few after a bump of a whole engine."""


def kept_settings(settings: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Return the PIP_* variables for what pip's configuration says about reaching the index.

    The order is pip's own: `[global]`, then the command's section, then the environment.
    """
    flat = {key: str(value) for _, section in settings for key, value in section.items() if value}
    kept = {}
    for section in ("global", "install", ":env:"):
        for name in HOW_TO_REACH_AN_INDEX:
            if f"{section}.{name}" in flat:
                kept[f"PIP_{name.replace('-', '_').upper()}"] = flat[f"{section}.{name}"]
    return kept


def isolate() -> None:
    """Cut this process off from pip's configuration, except for how to reach the index."""
    configuration = Configuration(isolated=False)
    configuration.load()
    kept = kept_settings(configuration.items())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        del os.environ[name]
    os.environ.update(kept, PIP_CONFIG_FILE=os.devnull)


def arguments(
    lock: LockFile, output: Path, provided: Iterable[str], upgrade: Iterable[str], *, all_of_them: bool
) -> list[str]:
    """Return pip-compile's arguments for a lock."""
    left_out = [f"--unsafe-package={name}" for name in (*provided, *lock.left_out)]
    return [
        f"--max-rounds={MAX_ROUNDS}",
        *("--quiet", "--no-config", "--no-header", "--generate-hashes", "--strip-extras"),
        *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"),
        *(left_out or ["--allow-unsafe"]),
        *(["--no-reuse-hashes"] if lock.layer.named_only else []),
        *(f"--constraint={path}" for path in lock.inputs[1:]),
        *(f"--upgrade-package={name}" for name in upgrade),
        *(["--upgrade"] if all_of_them else []),
        *(f"--output-file={output}", lock.layer.requirements),
    ]


def left_out(body: str) -> frozenset[str]:
    """Return the packages that pip-compile resolved and left out: one comment each, at the end of what it wrote."""
    return frozenset(re.findall(r"^# ([a-z0-9]+(?:-[a-z0-9]+)*)$", body, re.MULTILINE))


def compile_lock(
    lock: LockFile,
    upgrade: Collection[str] = (),
    *,
    upgrade_all: bool = False,
    cooldown: Cooldown | None = None,
    seed: Path | None = None,
) -> tuple[str, Findings]:
    """Run pip-compile for the lock's target in the current folder.

    Args:
        lock: which one.
        upgrade: packages to move.
        upgrade_all: move all of them.
        cooldown: which releases are too young.
        seed: the pins to start from, where they are not those of the lock's own file.

    Returns:
        The text of the lock, and what the index says about its packages.
    """
    texts = _texts(lock)
    if seed:
        texts[lock.path] = seed.read_text(encoding="utf-8")
    cooldown = cooldown or Cooldown(uploaded_before="")
    below = {lower.path: requirements.read(texts[lower.path], lower.path) for lower in lock.below}
    names = sorted({package.name for packages in below.values() for package in packages})
    for path in (lock.path, *below):
        cooldown.keep(texts.get(path, ""))
    with TemporaryDirectory() as folder:
        output = Path(folder, "lock.txt")
        if lock.path in texts:  # pip-compile keeps the pins of the file it is going to replace
            output.write_text(texts[lock.path], encoding="utf-8")
        words = arguments(lock, output, names, upgrade, all_of_them=upgrade_all)
        words += cooldown.arguments()
        repository = _run_pip_compile(lock, words, cooldown)
        body = output.read_text(encoding="utf-8")
    before, after = (requirements.readable(text) for text in (texts.get(lock.path, ""), body))
    pins = {each.pin: each for each in (*before, *after)}
    yanked = {each.pin: repository.yanked.get((each.name, each.version), "") for each in after}
    found = Findings(
        sizes={pin: repository.size(each, compiled=each.name in lock.compiled) for pin, each in sorted(pins.items())},
        yanked={pin: reason for pin, reason in sorted(yanked.items()) if reason},
        requirements=repository.requirements(),
    )
    return python_lock.header(lock, texts, _provided(below, left_out(body))) + body, found


def _texts(lock: LockFile) -> dict[str, str]:
    texts = python_lock.texts_of(lock, Path())
    for path in lock.inputs:
        if path not in texts:
            message = f"{lock.path} is made from {path}, which is missing.\nRun: {requirements.COMMAND}"
            raise LockError(message)
    return texts


def _run_pip_compile(lock: LockFile, words: list[str], cooldown: Cooldown) -> TargetRepository:
    made: list[TargetRepository] = []

    def repository(pip_args: list[str], cache_dir: str) -> TargetRepository:
        made.append(TargetRepository(pip_args, cache_dir, lock=lock, cooldown=cooldown))
        return made[0]

    markers.default_environment = partial(environment, lock.target)  # type: ignore[assignment]
    pip_compile.PyPIRepository = repository  # type: ignore[attr-defined,assignment]
    note_sizes()
    _let_pip_explain_itself()
    try:
        pip_compile.cli.main(words, prog_name="pip-compile", standalone_mode=False)
    except (PipError, ClickException) as error:
        message = (
            f"pip-compile could not make {lock.path} for {lock.target}:\n{error}\n{cooldown.explanation()}".rstrip()
        )
        raise LockError(message) from None
    return made[0]


def _let_pip_explain_itself() -> None:
    """Show which requirements conflict: pip logs that below what --quiet shows."""
    logger = logging.getLogger("pip._internal.resolution.resolvelib.factory")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False


def _provided(
    below: Mapping[str, tuple[LockedPackage, ...]], names: frozenset[str]
) -> dict[str, tuple[LockedPackage, ...]]:
    return {path: tuple(each for each in packages if each.name in names) for path, packages in below.items()}


def main(words: list[str] | None = None) -> None:
    """Make one lock, whole or not at all."""
    parser = argparse.ArgumentParser(prog="python -m dynamo_containers.lock.python.compile", description=__doc__)
    parser.add_argument("lock", help="its path, such as constraints/frontend-debian-arm64.txt")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project's root")
    parser.add_argument("--upgrade", action="append", default=[], metavar="NAME", help="move this pin; repeatable")
    parser.add_argument("--upgrade-all", action="store_true", help="move every pin")
    parser.add_argument("--seed", type=Path, help="pins to start from, instead of those the lock has")
    parser.add_argument("--output", type=Path, help="where to leave the lock, instead of its place")
    parser.add_argument("--findings", type=Path, help="where to leave what the index says of the packages")
    parser.add_argument("--uploaded-before", default="", metavar="TIME", help="take no release that came later")
    given = parser.parse_args(words)
    os.chdir(given.folder)  # pip-compile notes in the lock where a requirement stands: as we name the file
    isolate()
    catalogue = load_catalogue(given.folder)
    lock = named(given.lock, python_lock.locks(catalogue))
    cooldown = Cooldown(
        uploaded_before=given.uploaded_before,
        exempt=frozenset(catalogue.cooldown_exempt),
        moving=None if given.upgrade_all else frozenset(map(requirements.name_of, given.upgrade)),
    )
    text, found = compile_lock(lock, given.upgrade, upgrade_all=given.upgrade_all, cooldown=cooldown, seed=given.seed)
    requirements.read(text, lock.path)
    if given.findings:
        write(Document(path=given.findings, text=json.dumps(asdict(found), indent=2) + "\n"))
    write(Document(path=given.output or given.folder / lock.path, text=text))


def named(path: str, every: Iterable[LockFile]) -> LockFile:
    """Return the lock with this path.

    Raises:
        UsageError: there is none.
    """
    by_path = {lock.path: lock for lock in every}
    if path not in by_path:
        message = f"{path} is no lock of this project.\nThere are: {', '.join(by_path)}"
        raise UsageError(message)
    return by_path[path]


def as_a_process(main: Callable[[], None]) -> None:
    """Run what a process of ours is for; a foreseen failure or Ctrl-C is its message and exit code."""
    try:
        main()
    except FatalError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, Abort):
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    as_a_process(main)
