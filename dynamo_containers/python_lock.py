"""Which Python locks exist, what makes each one, what do they say, and are they current?

A lock is one file per layer, bases and architecture: `constraints/<layer>-<bases>-<arch>.txt`. Its layer's
`requirements/<layer>.in` says whether a package is installed; the lock says which version, by hash. An upper layer is
constrained by the locks of the layers it stands on, and what those already provide stays out of it.
Everything here works on values; `refresh` starts the processes, `stale` reads the files.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import CheckFailedError, LockError, UsageError
from dynamo_containers.model import IMAGES_FILE, Platform
from dynamo_containers.run import Command, Document, Plan, call, capture, execute, write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dynamo_containers.model import Catalogue

EVERYWHERE = "requirements/constraints.in"
"""What every lock obeys: security floors, one NIXL."""
COMMAND = "invoke lock"
AT_ONCE = 2
"""Locks made at the same time: each keeps a core busy (pip's resolver), and all wait for the same index."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The environment that a lock is for; never the machine that makes it."""

    bases: str
    python: str
    glibc: str
    platform: Platform

    def __str__(self) -> str:
        """Return the words of the lock's header."""
        return f"{self.bases} {self.platform.value}, Python {self.python}, glibc {self.glibc}"

    @property
    def uv_platform(self) -> str:
        """Return the target in the words of `uv pip install --python-platform`."""
        return f"{self.platform.machine}-manylinux_{self.glibc.replace('.', '_')}"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A set of packages that is installed together: one file in requirements/."""

    name: str
    image: str | None
    """The image whose bases and platforms it is locked for; None: one lock for every host."""
    on: tuple[str, ...] = ()
    """The layers below. Their locks constrain this one, and what they list stays out of it."""
    named_only: bool = False
    """Lock only what the .in file names, and for each the one wheel that fits: a folder filled with --no-deps."""

    @property
    def requirements(self) -> str:
        """Return the hand-written file of the layer."""
        return f"requirements/{self.name}.in"


LAYERS = (
    Layer(name="tools", image=None),
    Layer(name="base", image="base", named_only=True),
    Layer(name="builder", image="base"),
    Layer(name="frontend", image="frontend", on=("base",)),
    Layer(name="frontend-ci", image="frontend", on=("base", "frontend")),
)
"""Lower layers first. A new environment is a row here and a file in requirements/."""

ANY_HOST = Target(bases="any", python="3.11", glibc="2.28", platform=Platform.AMD64)
"""What the project's own tools are resolved for, so that their lock is the same whoever makes it: the oldest Python
needs the most packages. The hashes cover all files of a release, so the lock installs on newer ones and arm64 too."""


@dataclass(frozen=True, kw_only=True)
class LockFile:
    """One lock that must exist, and what it is made from. Paths are relative to the project's root."""

    path: str
    layer: Layer
    target: Target
    below: tuple[LockFile, ...]
    """The locks of the layers below, lowest first."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the files that decide what is in the lock."""
        return (self.layer.requirements, EVERYWHERE, *(lower.path for lower in self.below))


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One pin of a lock."""

    name: str
    version: str
    hashes: tuple[str, ...]


def locks(catalogue: Catalogue, layers: Iterable[Layer] = LAYERS) -> tuple[LockFile, ...]:
    """Return every lock that must exist, lower layers first.

    Raises:
        UsageError: a layer's image does not exist, or a layer below it has no lock for the same target.
    """
    made: dict[str, LockFile] = {}
    for layer in layers:
        for target in _targets(catalogue, layer):
            path = _path(layer.name, target)
            below = tuple(_lower(made, layer, _path(lower, target)) for lower in layer.on)
            made[path] = LockFile(path=path, layer=layer, target=target, below=below)
    return tuple(made.values())


def _targets(catalogue: Catalogue, layer: Layer) -> tuple[Target, ...]:
    if layer.image is None:
        return (ANY_HOST,)
    if layer.image not in catalogue.images:
        message = f'The layer "{layer.name}" is for the image "{layer.image}", which {IMAGES_FILE} does not have.'
        raise UsageError(message)
    image = catalogue.images[layer.image]
    return tuple(
        Target(bases=bases.name, python=bases.python, glibc=bases.glibc, platform=platform)
        for bases in (catalogue.bases[name] for name in image.bases)
        for platform in image.platforms
    )


def _path(layer: str, target: Target) -> str:
    if target == ANY_HOST:
        return f"constraints/{layer}.txt"
    return f"constraints/{layer}-{target.bases}-{target.platform.arch}.txt"


def _lower(made: Mapping[str, LockFile], layer: Layer, path: str) -> LockFile:
    if path not in made:
        message = f'The layer "{layer.name}" stands on {path}, but no image of {IMAGES_FILE} has that layer there.'
        raise UsageError(message)
    return made[path]


def plan(lock: LockFile, folder: Path, upgrade: Iterable[str] = (), *, upgrade_all: bool = False) -> Command:
    """Return the command that makes or renews one lock; pins that still fit are kept unless an upgrade is asked for."""
    return Command(
        argv=(
            *(sys.executable, "-m", "dynamo_containers.pip_compile_target", "--folder", str(folder), lock.path),
            *(word for name in upgrade for word in ("--upgrade", name)),
            *(("--upgrade-all",) if upgrade_all else ()),
        ),
        env={"PYTHONPATH": str(folder)},  # `python -m` looks in the current folder, which may be any
        quiet=True,
        hint=f"{lock.path} is as it was. Edit {lock.layer.requirements} or {EVERYWHERE}, then run: {COMMAND}",
    )


def digest(lock: LockFile, texts: Mapping[str, str]) -> str:
    """Return a digest of what the lock is made from: comments and empty lines do not count."""
    meaning = [str(lock.target), str(lock.layer.named_only)]
    for path in lock.inputs:
        meaning += [path, *_lines(texts[path])]
    return "sha256:" + hashlib.sha256("\n".join(meaning).encode()).hexdigest()


def header(lock: LockFile, texts: Mapping[str, str], provided: Mapping[str, Iterable[LockedPackage]]) -> str:
    """Return the first lines of a lock: how it is made, for what, from what, and what it leaves to the locks below."""
    return "".join(
        (
            "#\n# This file is autogenerated by pip-compile\n# by the following command:\n#\n",
            f"#    {COMMAND}\n#\n",
            f"# target: {lock.target}\n",
            f"# inputs: {digest(lock, texts)}\n",
            *(
                f"# provided by {path}: {' '.join(f'{each.name}=={each.version}' for each in packages)}\n"
                for path, packages in provided.items()
                if packages
            ),
            "#\n",
        )
    )


def why_stale(lock: LockFile, texts: Mapping[str, str]) -> str | None:
    """Say why a lock cannot be used, given the texts of all files that exist; None when it is current."""
    for path in lock.inputs:
        if path not in texts:
            return f"{lock.path}: {path}, which it is made from, is missing.\n{_remedy(path)}"
    if lock.path not in texts:
        return f"{lock.path} is missing.\nMake it with: {COMMAND}"
    try:
        read(texts[lock.path], lock.path)
    except LockError as error:
        return str(error)
    if f"# inputs: {digest(lock, texts)}" not in texts[lock.path].splitlines():
        return f"{lock.path} is stale: {' or '.join(lock.inputs)} or its target changed.\nRenew it with: {COMMAND}"
    return None


def _remedy(path: str) -> str:
    return f"Write {path} or restore it with: git checkout {path}" if path.endswith(".in") else f"Run: {COMMAND}"


def stale(lock: LockFile, folder: Path) -> str | None:
    """Say why a lock is missing or stale, with what to run; None when it is current. Offline, in milliseconds."""
    return why_stale(lock, texts_of(lock, folder))


def texts_of(lock: LockFile, folder: Path) -> dict[str, str]:
    """Read the lock and its inputs, as far as they exist."""
    paths = (path for path in (*lock.inputs, lock.path) if (folder / path).is_file())
    return {path: (folder / path).read_text(encoding="utf-8") for path in paths}


PIN = re.compile(
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[^\s;=]+)(?: *;[^\\]*?)?(?P<hashes>(?: +--hash=\S+)*)"
)
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
PROVIDED = re.compile(r"^# provided by (?P<path>\S+):(?P<pins>(?: \S+==\S+)+)$", re.MULTILINE)


def _lines(text: str) -> tuple[str, ...]:
    """Return the lines that mean something, continued ones joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    return tuple(line for line in (raw.strip() for raw in joined.splitlines()) if line and not line.startswith("#"))


def read(text: str, path: str = "The lock") -> tuple[LockedPackage, ...]:
    """Return the pins of a lock, as pip-compile writes them.

    Raises:
        LockError: a line is no pin with sha256 hashes, or a package stands there twice.
    """
    packages = tuple(_package(line, path) for line in _lines(text))
    names = [package.name for package in packages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"{path} pins {', '.join(twice)} more than once.\nIt is not written by hand. Renew it with: {COMMAND}"
        raise LockError(message)
    return packages


def _package(line: str, path: str) -> LockedPackage:
    found = PIN.fullmatch(line)
    hashes = tuple(HASH.findall(line))
    if not found or not hashes or len(hashes) != line.count("--hash="):
        message = (
            f'{path}: "{line[:100]}" is no `name==version` with sha256 hashes.\n'
            f"It is not written by hand. Renew it with: {COMMAND}"
        )
        raise LockError(message)
    return LockedPackage(name=found["name"], version=found["version"], hashes=hashes)


def provided(text: str) -> tuple[tuple[str, str], ...]:
    """Return (name, version) of what the lock's environment has from the locks below."""
    pins = (pin for line in PROVIDED.finditer(text) for pin in line["pins"].split())
    return tuple((pin.partition("==")[0], pin.partition("==")[2]) for pin in pins)


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


def chosen(
    every: Iterable[LockFile],
    *,
    layers: Collection[str] = (),
    bases: Collection[str] = (),
    platforms: Collection[Platform] = (),
) -> tuple[LockFile, ...]:
    """Return the locks that were asked for, each after the locks below it; nothing named means all of that kind."""
    wanted: dict[LockFile, None] = {}
    for lock in every:
        for_all = lock.target == ANY_HOST
        if (
            (not layers or lock.layer.name in layers)
            and (not bases or for_all or lock.target.bases in bases)
            and (not platforms or for_all or lock.target.platform in platforms)
        ):
            wanted |= dict.fromkeys((*lock.below, lock))
    return tuple(wanted)


def waves(every: Iterable[LockFile]) -> tuple[tuple[LockFile, ...], ...]:
    """Return the locks in groups: one needs only locks of earlier groups, so those of a group can be made together."""
    depths = {lock: _depth(lock) for lock in every}
    return tuple(tuple(lock for lock in depths if depths[lock] == depth) for depth in sorted(set(depths.values())))


def _depth(lock: LockFile) -> int:
    return 1 + max((_depth(lower) for lower in lock.below), default=0)


def to_upgrade(lock: LockFile, texts: Mapping[str, str], upgrade: Iterable[str]) -> tuple[str, ...]:
    """Return which of the wanted upgrades (`name` or `name==version`) concern this lock."""
    try:
        pinned = {package.name for package in read(texts.get(lock.path, ""), lock.path)}
    except LockError:
        return ()  # it is made anew anyway
    return tuple(wish for wish in upgrade if _name(wish) in pinned)


def _name(wish: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s=<>!~;\[]", wish, maxsplit=1)[0]).lower()


def refresh(
    catalogue: Catalogue,
    wanted: Iterable[LockFile],
    *,
    upgrade: Collection[str] = (),
    upgrade_all: bool = False,
    dry_run: bool = False,
) -> None:
    """Make the locks that are missing or stale, or that an upgrade concerns; leave the others alone.

    Raises:
        UsageError: a package that is to be upgraded is in no lock.
        CommandFailedError: a lock could not be made; it stays as it was, and so do those that stand on it.
    """
    from concurrent.futures import ThreadPoolExecutor

    groups = waves(wanted)
    _check_upgrades(groups, catalogue.folder, upgrade)
    for group in groups:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            made = pool.map(
                lambda lock: _refresh(lock, catalogue.folder, upgrade, upgrade_all=upgrade_all, dry_run=dry_run), group
            )
            tuple(made)  # raises what a thread raised


def _check_upgrades(groups: Iterable[Iterable[LockFile]], folder: Path, upgrade: Iterable[str]) -> None:
    every = tuple(lock for group in groups for lock in group)
    for wish in upgrade:
        if not any(to_upgrade(lock, texts_of(lock, folder), (wish,)) for lock in every):
            message = f'"{wish}" is in no lock, so it cannot be upgraded.\nSee what is: ls constraints'
            raise UsageError(message)


def _refresh(lock: LockFile, folder: Path, upgrade: Collection[str], *, upgrade_all: bool, dry_run: bool) -> None:
    texts = texts_of(lock, folder)
    names = to_upgrade(lock, texts, upgrade)
    reason = why_stale(lock, texts)
    if not (reason or names or upgrade_all):
        return
    import time

    start = time.monotonic()
    execute(Plan(commands=(plan(lock, folder, names, upgrade_all=upgrade_all),)), dry_run=dry_run)
    if not dry_run:
        packages = len(read((folder / lock.path).read_text(encoding="utf-8"), lock.path))
        print(f"  {lock.path}: {packages} packages, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
