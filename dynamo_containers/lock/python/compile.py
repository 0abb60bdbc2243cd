"""pip-compile for a target that is not the machine it runs on; run as a child process.

pip-tools has no target platform (its issues 585, 1326, 2050): it resolves for the interpreter that runs it. Four
settings decide the target, and this process sets them before it runs pip-compile:

- the marker environment of pip's vendored `packaging`,
- the Python version that pip's resolver compares `Requires-Python` with,
- the wheel tags of pip's finder,
- the indexes, links and options of pip's configuration: only settings for reaching the index are kept.

Hashes come from the pages of the index, which state each file's sha256 (PEP 503, PEP 691). pip-compile itself queries
the JSON API of the index, which is not a standard, and downloads every file where there is none. The hashes are equal.

All of this depends on internals of pip and pip-tools; constraints/tools.txt pins both, and a unit test fails when a
hook point disappears. Run as `python -m dynamo_containers.lock.python.compile LOCK` in the environment of the tools.
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

from dynamo_containers import file_reader, signals
from dynamo_containers.errors import FatalError, LockError, unknown_name
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.lock.python.cooldown import Cooldown
from dynamo_containers.lock.python.pip_warnings import CONFLICTS, missing_extras, record_warnings
from dynamo_containers.lock.python.report import IndexFindings
from dynamo_containers.lock.python.repository import TargetRepository, record_sizes
from dynamo_containers.lock.python.target import environment, record_patch_markers
from dynamo_containers.process import Document, write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from dynamo_containers.facts.locks.python_lock import LockFile
    from dynamo_containers.facts.locks.requirements import LockedPackage

CONNECTION_SETTINGS = frozenset(
    {
        *("index-url", "cert", "client-cert", "proxy", "trusted-host", "keyring-provider", "use-feature"),
        *("timeout", "default-timeout", "retries"),
    }
)
"""Settings of pip that may differ between machines without changing a lock."""
MAX_ROUNDS = 100
"""Each round drops an old pin that no longer fits; pip-compile's default of 10 is too low for a new engine release."""


def connection_variables(settings: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Return the PIP_* variables for the settings of pip's configuration that concern reaching the index.

    The order is pip's own: `[global]`, then the command's section, then the environment.
    """
    flat = {key: str(value) for _, section in settings for key, value in section.items() if value}
    variables = {}
    for section in ("global", "install", ":env:"):
        for name in CONNECTION_SETTINGS:
            if f"{section}.{name}" in flat:
                variables[f"PIP_{name.replace('-', '_').upper()}"] = flat[f"{section}.{name}"]
    # Of the features, only the certificates of the system concern the index.
    if "truststore" not in variables.pop("PIP_USE_FEATURE", "").split():
        return variables
    return {**variables, "PIP_USE_FEATURE": "truststore"}


def isolate() -> None:
    """Ignore pip's configuration in this process, except for the settings for reaching the index."""
    configuration = Configuration(isolated=False)
    configuration.load()
    variables = connection_variables(configuration.items())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        del os.environ[name]
    os.environ.update(variables, PIP_CONFIG_FILE=os.devnull)


def arguments(
    lock: LockFile, output: Path, provided: Iterable[str], upgrade: Iterable[str], *, upgrade_all: bool
) -> list[str]:
    """Return pip-compile's arguments for a lock."""
    excluded = [f"--unsafe-package={name}" for name in (*provided, *lock.excluded)]
    return [
        f"--max-rounds={MAX_ROUNDS}",
        *("--quiet", "--no-config", "--no-header", "--generate-hashes", "--strip-extras"),
        *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"),
        *(excluded or ["--allow-unsafe"]),
        *(["--no-reuse-hashes"] if lock.layer.named_only else []),
        *(f"--constraint={path}" for path in lock.inputs[1:]),
        *(f"--upgrade-package={name}" for name in upgrade),
        *(["--upgrade"] if upgrade_all else []),
        *(f"--output-file={output}", lock.layer.requirements),
    ]


def excluded_packages(body: str) -> frozenset[str]:
    """Return the packages that pip-compile resolved but did not pin: it names each in a comment at the end."""
    return frozenset(re.findall(r"^# ([a-z0-9]+(?:-[a-z0-9]+)*)$", body, re.MULTILINE))


def compile_lock(
    lock: LockFile,
    upgrade: Collection[str] = (),
    *,
    upgrade_all: bool = False,
    cooldown: Cooldown | None = None,
    seed: Path | None = None,
) -> tuple[str, IndexFindings]:
    """Run pip-compile for the lock's target in the current folder.

    Args:
        lock: which one.
        upgrade: packages to upgrade.
        upgrade_all: upgrade all of them.
        cooldown: which releases are too young.
        seed: a file with the pins to start from; without it, the lock's own pins.

    Returns:
        The text of the lock, and the answers of the index about its packages.
    """
    texts = _read_inputs(lock)
    if seed:
        texts[lock.path] = file_reader.read_text(seed)
    cooldown = cooldown or Cooldown(uploaded_before="")
    lower_pins = {lower.path: requirements.read(texts[lower.path], lower.path) for lower in lock.lower}
    names = sorted({package.name for packages in lower_pins.values() for package in packages})
    for path in (lock.path, *lower_pins):
        cooldown.allow_locked(texts.get(path, ""))
    with TemporaryDirectory() as folder:
        output = Path(folder, "lock.txt")
        if lock.path in texts:  # pip-compile keeps the pins of the file it is going to replace
            output.write_text(texts[lock.path], encoding="utf-8")
        options = [*arguments(lock, output, names, upgrade, upgrade_all=upgrade_all), *cooldown.arguments()]
        recorder, patch_markers = record_warnings(), _patch_markers(lock)
        repository = _run_pip_compile(lock, options, cooldown)
        body = file_reader.read_text(output)
    dependent = (f"{marker} may depend on the patch release of Python, which nobody states" for marker in patch_markers)
    warnings = (*_missing_extras(lock, repository), *dependent, *recorder.messages)
    findings = _index_findings(lock, repository, (texts.get(lock.path, ""), body), warnings)
    return python_lock.header(lock, texts, _provided(lower_pins, excluded_packages(body))) + body, findings


def _patch_markers(lock: LockFile) -> Mapping[str, None]:
    """Return the markers that depend on an unknown patch release, as pip evaluates them.

    The project's own tools are locked once for all Pythons that they run on.
    """
    is_known = lock.target == python_lock.ANY_HOST or lock.target.python.count(".") > 1
    return {} if is_known else record_patch_markers(lock.target)


def _missing_extras(lock: LockFile, repository: TargetRepository) -> tuple[str, ...]:
    try:
        return missing_extras(repository.result)
    except LockError as error:
        message = f"{lock.path} would lack packages, because extras do not exist:\n{error}"
        raise LockError(message) from None


def _index_findings(
    lock: LockFile, repository: TargetRepository, texts: tuple[str, str], warnings: tuple[str, ...]
) -> IndexFindings:
    """Return the findings about the pins of a lock; `texts` are the old and the new lock."""
    before, after = (requirements.read_if_valid(text) for text in texts)
    pins = {package.pin: package for package in (*before, *after)}
    yanked = {package.pin: repository.yanked.get((package.name, package.version), "") for package in after}
    return IndexFindings(
        sizes={
            pin: repository.size(package, compiled=package.name in lock.compiled)
            for pin, package in sorted(pins.items())
        },
        yanked={pin: reason for pin, reason in sorted(yanked.items()) if reason},
        requirements=repository.requirements(),
        warnings=warnings,
    )


def _read_inputs(lock: LockFile) -> dict[str, str]:
    texts = python_lock.read_valid_texts(lock, Path())
    for path in lock.inputs:
        if path not in texts:
            message = f"{path}, an input of {lock.path}, is missing.\nRun: {requirements.COMMAND}"
            raise LockError(message)
    return texts


def _run_pip_compile(lock: LockFile, options: list[str], cooldown: Cooldown) -> TargetRepository:
    repositories: list[TargetRepository] = []

    def repository(pip_args: list[str], cache_dir: str) -> TargetRepository:
        repositories.append(TargetRepository(pip_args, cache_dir, lock=lock, cooldown=cooldown))
        return repositories[0]

    markers.default_environment = partial(environment, lock.target)  # type: ignore[assignment]
    pip_compile.PyPIRepository = repository  # type: ignore[attr-defined,assignment]
    record_sizes()
    _show_conflicts()
    try:
        pip_compile.cli.main(options, prog_name="pip-compile", standalone_mode=False)
    except (PipError, ClickException) as error:
        message = (
            f"pip-compile could not resolve {lock.path} for {lock.target}:\n{error}\n{cooldown.explanation()}".rstrip()
        )
        raise LockError(message) from None
    return repositories[0]


def _show_conflicts() -> None:
    """Show which requirements conflict: pip logs them below the level that --quiet shows."""
    logger = logging.getLogger(CONFLICTS)
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False


def _provided(
    lower_pins: Mapping[str, tuple[LockedPackage, ...]], names: frozenset[str]
) -> dict[str, tuple[LockedPackage, ...]]:
    return {path: tuple(pin for pin in packages if pin.name in names) for path, packages in lower_pins.items()}


def main(argv: list[str] | None = None) -> None:
    """Compile one lock; it is written completely or not at all."""
    parser = argparse.ArgumentParser(prog="python -m dynamo_containers.lock.python.compile", description=__doc__)
    parser.add_argument("lock", help="its path, such as constraints/frontend-debian-arm64.txt")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project's root")
    parser.add_argument(
        "--upgrade", action="append", default=[], metavar="NAME", help="upgrade this package; repeatable"
    )
    parser.add_argument("--upgrade-all", action="store_true", help="upgrade every package")
    parser.add_argument("--seed", type=Path, help="file with the pins to start from; default: the lock")
    parser.add_argument("--output", type=Path, help="file to write instead of the lock")
    parser.add_argument("--findings", type=Path, help="file for the answers of the index about the packages")
    parser.add_argument("--uploaded-before", default="", metavar="TIME", help="ignore later releases")
    options = parser.parse_args(argv)
    os.chdir(options.folder)  # pip-compile writes the paths of requirements into the lock, relative to this folder
    isolate()
    catalogue = load_catalogue(options.folder)
    lock = find_lock(options.lock, python_lock.locks(catalogue))
    cooldown = Cooldown(
        uploaded_before=options.uploaded_before,
        exempt=frozenset(catalogue.cooldown_exempt),
        upgraded=None if options.upgrade_all else frozenset(map(requirements.package_name, options.upgrade)),
    )
    text, findings = compile_lock(
        lock, options.upgrade, upgrade_all=options.upgrade_all, cooldown=cooldown, seed=options.seed
    )
    requirements.read(text, lock.path)
    if options.findings:
        write(Document(path=options.findings, text=json.dumps(asdict(findings), indent=2) + "\n"))
    write(Document(path=options.output or options.folder / lock.path, text=text))


def find_lock(path: str, locks: Iterable[LockFile]) -> LockFile:
    """Return the lock with this path.

    Raises:
        UsageError: no lock has it.
    """
    by_path = {lock.path: lock for lock in locks}
    if path not in by_path:
        kind = "lock"
        raise unknown_name(kind, path, by_path)
    return by_path[path]


def run_as_process(main: Callable[[], None]) -> None:
    """Run the main function of a child process; a foreseen failure or a signal becomes a message and an exit code."""
    signals.install()
    try:
        with signals.interruptible():
            main()
    except FatalError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, Abort) as error:
        sys.exit(signals.ending(error).exit_code)


if __name__ == "__main__":
    run_as_process(main)
