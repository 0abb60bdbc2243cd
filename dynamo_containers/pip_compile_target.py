"""How does pip-compile make a lock for a target that is not the machine it runs on?

pip-tools has no target platform (its issues 585, 1326, 2050) and asks the interpreter it runs on. Four things decide,
and this process sets them before it runs pip-compile:

- the marker environment of pip's vendored `packaging`,
- the Python version that pip's resolver compares `Requires-Python` with,
- the wheel tags of pip's finder,
- the indexes, links and options of pip's configuration: only how to reach the index is kept, never what to take.

Hashes are taken from the index, which states each file's sha256 (PEP 503, PEP 691): pip-compile itself asks the
JSON API of the index, which is no standard, and downloads every file when there is none. The result is the same.

All of this stands on internals of pip and pip-tools; constraints/tools.txt pins both, and a unit test fails when one of
the hook points is gone. Run as `python -m dynamo_containers.pip_compile_target LOCK` in the environment of the tools.
"""

from __future__ import annotations

import argparse
import contextlib
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
from pip._internal.index.package_finder import LinkType
from pip._internal.models.link import Link
from pip._internal.models.target_python import TargetPython
from pip._internal.utils.hashes import FAVORITE_HASH
from pip._vendor.packaging import markers
from pip._vendor.packaging.specifiers import SpecifierSet
from pip._vendor.packaging.utils import canonicalize_name
from piptools.repositories import PyPIRepository
from piptools.scripts import compile as pip_compile

from dynamo_containers import index_page, python_lock, python_pins
from dynamo_containers.cooldown import Cooldown
from dynamo_containers.errors import INTERRUPTED, FatalError, LockError, UsageError
from dynamo_containers.model import ROOT, Platform, load
from dynamo_containers.python_lock_report import Findings
from dynamo_containers.run import Document, write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from pip._internal.index.package_finder import LinkEvaluator
    from pip._internal.models.candidate import InstallationCandidate
    from pip._internal.req import InstallRequirement

    from dynamo_containers.python_lock import LockFile, Target
    from dynamo_containers.python_pins import LockedPackage

HOW_TO_REACH_AN_INDEX = frozenset(
    {
        *("index-url", "cert", "client-cert", "proxy", "trusted-host", "keyring-provider", "use-feature"),
        *("timeout", "default-timeout", "retries"),
    }
)
"""The settings of pip that may differ from machine to machine without changing a lock."""
OLDEST_GLIBC = {Platform.AMD64: 5, Platform.ARM64: 17}
"""The oldest manylinux tag, as glibc 2.x (PEP 600)."""
LEGACY_TAGS = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""What manylinux_2_x was called before PEP 600; pip derives the 2010 and 1 from 2014 by itself, twice does no harm."""


def environment(target: Target) -> dict[str, str]:
    """Return the target's environment markers (PEP 508).

    A target says `3.11`; the first of its releases is taken, as uv does: a marker such as
    `python_full_version < "3.11.3"` then adds a package that a later release might do without, and never omits one.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": ".".join(map(str, version(target))),
        "os_name": "posix",
        "platform_machine": target.platform.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": ".".join(map(str, version(target))),
        "python_version": ".".join(map(str, version(target)[:2])),
        "sys_platform": "linux",
    }


def version(target: Target) -> tuple[int, int, int]:
    """Return the target's Python version in full."""
    major, minor, patch = (*map(int, target.python.split(".")), 0, 0)[:3]
    return major, minor, patch


def platform_tags(target: Target) -> list[str]:
    """Return the platform part of the wheel tags that the target accepts, best first."""
    newest = int(target.glibc.removeprefix("2."))
    tags = []
    for minor in range(newest, OLDEST_GLIBC[target.platform] - 1, -1):
        tags += [f"manylinux_2_{minor}", *([LEGACY_TAGS[minor]] if minor in LEGACY_TAGS else [])]
    return [f"{tag}_{target.platform.machine}" for tag in (*tags, "linux")]


def target_python(target: Target) -> TargetPython:
    """Return the target in pip's words."""
    major, minor, _ = version(target)
    return TargetPython(
        platforms=platform_tags(target),
        py_version_info=version(target),
        abis=[f"cp{major}{minor}"],
        implementation="cp",
    )


SIZES: dict[str, int] = {}
"""How many bytes a file has, by its address: as the pages of the index said (PEP 700)."""
_plain_link = Link.from_json.__func__  # type: ignore[attr-defined]


def _sized_link(cls: type[Link], file_data: dict[str, Any], page_url: str) -> Link | None:
    """Make pip's link of an entry of an index page, and note the size, which pip drops."""
    link: Link | None = _plain_link(cls, file_data, page_url)
    if link is not None and isinstance(file_data.get("size"), int):
        SIZES[link.url] = file_data["size"]
    return link


class TargetRepository(PyPIRepository):
    """pip-compile's view of the index, for a target."""

    def __init__(self, pip_args: list[str], cache_dir: str, *, lock: LockFile, cooldown: Cooldown) -> None:
        """Build what pip-compile builds, then replace the parts that would ask the running interpreter."""
        super().__init__(pip_args, cache_dir)
        self._only_the_wheel = lock.layer.named_only
        self._options.ignore_dependencies = lock.layer.named_only
        self._finder = self._command._build_package_finder(  # noqa: SLF001 - as pip-compile does
            options=self._options, session=self._session, target_python=target_python(lock.target)
        )
        self.yanked: dict[tuple[str, str], str] = {}
        make = partial(cooldown.evaluator, self._finder.make_link_evaluator)
        self._finder.make_link_evaluator = partial(self._evaluator, make)  # type: ignore[method-assign]
        self._finder._link_collector.fetch_response = partial(  # type: ignore[method-assign]  # noqa: SLF001
            index_page.fetch, self._session
        )
        make_resolver = partial(self._command.make_resolver, py_version_info=version(lock.target))
        self._command.make_resolver = make_resolver  # type: ignore[method-assign]

    @contextlib.contextmanager
    def allow_all_wheels(self) -> Iterator[None]:
        """Look at the wheels of every platform while hashes are collected, as pip-compile does, or only at ours."""
        with contextlib.nullcontext() if self._only_the_wheel else super().allow_all_wheels():
            yield

    def _get_matching_candidates(self, ireq: InstallRequirement) -> set[InstallationCandidate]:
        if not self._only_the_wheel:
            return super()._get_matching_candidates(ireq)
        best = self._finder.find_best_candidate(str(ireq.name), ireq.specifier).best_candidate
        if best is None or not best.link.is_wheel:
            message = f"{ireq} has no wheel for the target, and a lock of named wheels cannot hold a source archive."
            raise LockError(message)
        return {best}

    def _get_hashes_from_pypi(self, ireq: InstallRequirement) -> dict[str, str]:  # noqa: ARG002 - see the module
        return {}

    def _get_file_hash(self, link: Link) -> str:
        if link.hash_name == FAVORITE_HASH:
            return f"{FAVORITE_HASH}:{link.hash}"
        return super()._get_file_hash(link)

    def _evaluator(self, make: Callable[[str], LinkEvaluator], project_name: str) -> LinkEvaluator:
        """Return a judge of files that notes which releases were taken back (PEP 592)."""
        evaluator = make(project_name)
        judge = evaluator.evaluate_link

        def evaluate(link: Link) -> tuple[LinkType, str]:
            kind, version = judge(link)
            if kind == LinkType.candidate and link.is_yanked:
                self.yanked[canonicalize_name(project_name), version] = link.yanked_reason or "no reason given"
            return kind, version

        evaluator.evaluate_link = evaluate  # type: ignore[method-assign]
        return evaluator

    def size(self, name: str, version: str) -> int | None:
        """Return how many bytes the target downloads for a version; None when the index does not say."""
        best = self._finder.find_best_candidate(name, SpecifierSet(f"=={version}")).best_candidate
        return SIZES.get(best.link.url) if best else None


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
    left_out = [f"--unsafe-package={name}" for name in provided]
    return [
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
    lock: LockFile, upgrade: Collection[str] = (), *, upgrade_all: bool = False, cooldown: Cooldown | None = None
) -> tuple[str, Findings]:
    """Run pip-compile for the lock's target in the current folder.

    Returns:
        The text of the lock, and what the index says about its packages.
    """
    texts = _texts(lock)
    cooldown = cooldown or Cooldown(uploaded_before="")
    below = {lower.path: python_pins.read(texts[lower.path], lower.path) for lower in lock.below}
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
    before, after = (_versions(text) for text in (texts.get(lock.path, ""), body))
    sizes = {f"{name}=={version}": repository.size(name, version) for name, version in sorted(before ^ after)}
    yanked = {f"{name}=={version}": repository.yanked.get((name, version), "") for name, version in after}
    found = Findings(sizes=sizes, yanked={pin: reason for pin, reason in sorted(yanked.items()) if reason})
    return python_lock.header(lock, texts, _provided(below, left_out(body))) + body, found


def _versions(text: str) -> set[tuple[str, str]]:
    return {(each.name, each.version) for each in python_pins.readable(text)}


def _texts(lock: LockFile) -> dict[str, str]:
    texts = python_lock.texts_of(lock, Path())
    for path in lock.inputs:
        if path not in texts:
            message = f"{lock.path} is made from {path}, which is missing.\nRun: {python_pins.COMMAND}"
            raise LockError(message)
    return texts


def _run_pip_compile(lock: LockFile, words: list[str], cooldown: Cooldown) -> TargetRepository:
    made: list[TargetRepository] = []

    def repository(pip_args: list[str], cache_dir: str) -> TargetRepository:
        made.append(TargetRepository(pip_args, cache_dir, lock=lock, cooldown=cooldown))
        return made[0]

    markers.default_environment = partial(environment, lock.target)  # type: ignore[assignment]
    pip_compile.PyPIRepository = repository  # type: ignore[attr-defined,assignment]
    Link.from_json = classmethod(_sized_link)  # type: ignore[assignment,method-assign]
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
    parser = argparse.ArgumentParser(prog="python -m dynamo_containers.pip_compile_target", description=__doc__)
    parser.add_argument("lock", help="its path, such as constraints/frontend-debian-arm64.txt")
    parser.add_argument("--folder", type=Path, default=ROOT, help="the project's root")
    parser.add_argument("--upgrade", action="append", default=[], metavar="NAME", help="move this pin; repeatable")
    parser.add_argument("--upgrade-all", action="store_true", help="move every pin")
    parser.add_argument("--findings", type=Path, help="where to leave what the index says of the packages")
    parser.add_argument("--uploaded-before", default="", metavar="TIME", help="take no release that came later")
    given = parser.parse_args(words)
    os.chdir(given.folder)  # pip-compile notes in the lock where a requirement stands: as we name the file
    isolate()
    catalogue = load(given.folder)
    lock = named(given.lock, python_lock.locks(catalogue))
    cooldown = Cooldown(
        uploaded_before=given.uploaded_before,
        exempt=frozenset(catalogue.cooldown_exempt),
        moving=None if given.upgrade_all else frozenset(map(python_pins.name_of, given.upgrade)),
    )
    text, found = compile_lock(lock, given.upgrade, upgrade_all=given.upgrade_all, cooldown=cooldown)
    python_pins.read(text, lock.path)
    if given.findings:
        write(Document(path=given.findings, text=json.dumps(asdict(found), indent=2) + "\n"))
    write(Document(path=given.folder / lock.path, text=text))


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


if __name__ == "__main__":
    try:
        main()
    except FatalError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, Abort):
        sys.exit(INTERRUPTED)
