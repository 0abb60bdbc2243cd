"""What exists? The nouns of containers/images.toml and pins.toml, and the only reader of TOML.

Loading refuses what it does not know and names the file, the key and what is allowed there.
"""

from __future__ import annotations

import platform as machine
import tomllib
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers.errors import LockError, UnsupportedHostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).resolve().parent.parent
IMAGES_FILE = "containers/images.toml"
PINS_FILE = "containers/pins.toml"


class Platform(Enum):
    """What an image runs on, in the words of the OCI image specification."""

    AMD64 = "linux/amd64"
    ARM64 = "linux/arm64"

    @property
    def arch(self) -> str:
        """Return the architecture as Docker and Debian name it."""
        return self.value.removeprefix("linux/")

    @property
    def machine(self) -> str:
        """Return the architecture as `uname -m` and wheel tags name it."""
        return {"amd64": "x86_64", "arm64": "aarch64"}[self.arch]

    @property
    def elf_machine(self) -> int:
        """Return e_machine of the ELF header (System V ABI: EM_X86_64 = 62, EM_AARCH64 = 183)."""
        return {"amd64": 62, "arm64": 183}[self.arch]


def native_platform() -> Platform:
    """Return the platform of the machine this runs on.

    Raises:
        UnsupportedHostError: it is none of ours.
    """
    for platform in Platform:
        if platform.machine == machine.machine():
            return platform
    valid = ", ".join(platform.value for platform in Platform)
    message = f"This machine is {machine.machine()}. Images are built on {valid}.\nUse a machine of that kind."
    raise UnsupportedHostError(message)


ALL_PLATFORMS = "all"


def platforms(
    words: Iterable[str], valid: Iterable[Platform] = tuple(Platform), of: str = "this project"
) -> tuple[Platform, ...]:
    """Return the platforms that the words of a command line mean; no word means this machine's own.

    Raises:
        UsageError: a word is none of the valid platforms.
    """
    known = {platform.value: platform for platform in valid}
    asked = list(words) or [native_platform().value]
    for word in asked:
        if word not in (*known, ALL_PLATFORMS):
            what = f"platform of {of}"
            raise unknown(what, word, [*known, ALL_PLATFORMS])
    wanted = list(known) if ALL_PLATFORMS in asked else asked
    return tuple(known[word] for word in sorted(set(wanted)))


def unknown(what: str, word: str, valid: Iterable[str]) -> UsageError:
    """Return the error for a word of the command line that names nothing."""
    names = ", ".join(valid) or "none"
    return UsageError(f'There is no {what} called "{word}". There is: {names}.\nThey stand in {IMAGES_FILE}.')


class Stage(Enum):
    """Who an image is for: the steps of the build graph in their order."""

    BASE = "base"
    BACKEND = "backend"
    RUNTIME = "runtime"
    CI = "ci"
    DEV = "dev"


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root image that mmdebstrap makes: a Debian suite and the packages it gets beyond the minimum."""

    suite: str
    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that is no Python package: where it comes from and which of its files go where."""

    suite: str
    package: str
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where locked .debs may be fetched from before the host's mirror is asked ('' for nowhere)."""

    pool: str = ""
    """A folder (below the checkout unless absolute) or URL: files by archive and path, or below sha256/."""
    snapshot: str = ""
    """A URL with {timestamp}, and {archive} where it differs."""


@dataclass(frozen=True, kw_only=True)
class Bases:
    """A set of root images that the whole graph can stand on."""

    name: str
    description: str
    strict: bool
    python: str
    interpreter: str
    glibc: str
    roots: Mapping[str, Root]
    programs: Mapping[str, Program]
    sources: Sources = Sources()


@dataclass(frozen=True, kw_only=True)
class Image:
    """One thing a user can pull, and its `-ci` and `-dev` forms."""

    name: str
    title: str
    description: str
    repository: str
    stages: tuple[Stage, ...]
    bases: tuple[str, ...]
    disk_mb: int
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A package file by content: its path below its archive's root, its version and its sha256."""

    version: str
    archive: str
    path: str
    size: int
    sha256: str
    locked: str = ""
    """When it was locked, as snapshot services write a time: 20261123T120000Z."""


@dataclass(frozen=True, kw_only=True)
class PinnedRoot:
    """A root image by content."""

    index: str
    """The digest of the OCI index over all platforms."""
    platforms: Mapping[Platform, str]
    """The digest of each platform's manifest."""


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What `invoke lock` found: the external inputs by content."""

    epoch: int
    """Seconds since 1970 (SOURCE_DATE_EPOCH): when the locks last moved. The newest time in any image."""
    programs: Mapping[tuple[str, str, Platform], Pin]
    """(bases, program, platform) -> its package file."""
    roots: Mapping[tuple[str, str], PinnedRoot]
    """(bases, role) -> what bootstrapping its locks gives."""

    def root(self, bases: str, role: str, platform: Platform) -> str:
        """Return the digest that a root image must have.

        Raises:
            LockError: it is not pinned.
        """
        found = self.roots.get((bases, role))
        if found is None or platform not in found.platforms:
            message = f"{PINS_FILE} has no roots.{bases}.{role} for {platform.value}.\nPin it with: invoke lock"
            raise LockError(message)
        return found.platforms[platform]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Everything that images.toml and pins.toml say."""

    folder: Path
    source: str
    licenses: str
    version_of: str
    oldest_glibc: str
    cooldown_days: int
    """How old a release must be on its index before a lock takes it."""
    cooldown_exempt: Mapping[str, str]
    """Package -> the reason why its releases are taken at once."""
    bases: Mapping[str, Bases]
    images: Mapping[str, Image]

    @cached_property
    def pins(self) -> Pins:
        """Return the pins; read when first asked for, so that listing images needs none.

        Raises:
            LockError: pins.toml is missing.
            UsageError: pins.toml breaks its rules.
        """
        return load_pins(self.folder)


def load(folder: Path = ROOT) -> Catalogue:
    """Read images.toml below `folder`.

    Raises:
        UsageError: a key is unknown, missing or of the wrong type.
    """
    table = _Table.read(folder, IMAGES_FILE)
    project = table.table("project")
    lock = table.table("lock")
    catalogue = Catalogue(
        folder=folder,
        source=project.string("source"),
        licenses=project.string("licenses"),
        version_of=project.string("version-of"),
        oldest_glibc=project.string("oldest-glibc"),
        cooldown_days=lock.integer("cooldown-days"),
        cooldown_exempt=_reasons(lock.string_table("cooldown-exempt")),
        bases={name: _bases(name, row) for name, row in table.tables("bases").items()},
        images={name: _image(name, row) for name, row in table.tables("images").items()},
    )
    project.refuse_the_rest()
    lock.refuse_the_rest()
    table.refuse_the_rest()
    _check_references(catalogue)
    return catalogue


def _reasons(rows: Mapping[str, str]) -> Mapping[str, str]:
    for name, reason in rows.items():
        if not reason.strip():
            raise _wrong(IMAGES_FILE, f"lock.cooldown-exempt.{name}", repr(reason), "the reason in words")
    return rows


def _bases(name: str, row: _Table) -> Bases:
    bases = Bases(
        name=name,
        description=row.string("description"),
        strict=row.boolean("strict"),
        python=row.string("python"),
        interpreter=row.string("interpreter"),
        glibc=row.string("glibc"),
        roots={role: _root(root) for role, root in row.tables("roots").items()},
        programs={program: _program(entry) for program, entry in row.tables("programs").items()},
        sources=_sources(row.table("sources", optional=True)),
    )
    row.refuse_the_rest()
    return bases


def _root(row: _Table) -> Root:
    root = Root(suite=row.string("suite"), packages=row.strings("packages"))
    row.refuse_the_rest()
    return root


def _sources(row: _Table) -> Sources:
    sources = Sources(pool=row.string("pool", optional=True), snapshot=row.string("snapshot", optional=True))
    row.refuse_the_rest()
    if sources.snapshot and "{timestamp}" not in sources.snapshot:
        raise _wrong(row.file, f"{row.path}.snapshot", f'"{sources.snapshot}"', "a URL with {timestamp} in it")
    return sources


def _program(row: _Table) -> Program:
    program = Program(suite=row.string("suite"), package=row.string("package"), files=row.string_table("files"))
    row.refuse_the_rest()
    return program


def _image(name: str, row: _Table) -> Image:
    image = Image(
        name=name,
        title=row.string("title"),
        description=row.string("description"),
        repository=row.string("repository"),
        stages=tuple(Stage(stage) for stage in row.strings("stages", allowed=[stage.value for stage in Stage])),
        bases=row.strings("bases"),
        disk_mb=row.integer("disk-mb"),
        platforms=tuple(
            Platform(platform) for platform in row.strings("platforms", allowed=[each.value for each in Platform])
        ),
    )
    row.refuse_the_rest()
    return image


def _check_references(catalogue: Catalogue) -> None:
    for image in catalogue.images.values():
        for bases in image.bases:
            if bases not in catalogue.bases:
                raise _wrong(IMAGES_FILE, f"images.{image.name}.bases", f'"{bases}"', _any_of(catalogue.bases))


def load_pins(folder: Path) -> Pins:
    """Read pins.toml below `folder`.

    Raises:
        LockError: there is no such file.
        UsageError: a key is unknown, missing or of the wrong type.
    """
    if not (folder / PINS_FILE).is_file():
        message = f"{PINS_FILE} is missing: nothing is pinned yet.\nMake it with: invoke lock"
        raise LockError(message)
    table = _Table.read(folder, PINS_FILE)
    pins = Pins(
        epoch=table.integer("epoch"),
        programs={
            (bases, name, _platform_key(platform, row)): _pin(row)
            for bases, programs in table.tables("programs", optional=True).items()
            for name, platforms in programs.all_tables().items()
            for platform, row in platforms.all_tables().items()
        },
        roots={
            (bases, role): _pinned_root(row)
            for bases, roles in table.tables("roots", optional=True).items()
            for role, row in roles.all_tables().items()
        },
    )
    table.refuse_the_rest()
    return pins


def _pinned_root(row: _Table) -> PinnedRoot:
    index = row.string("index")
    platforms = {_platform_key(key, row): row.string(key) for key in row.keys_left()}
    return PinnedRoot(index=index, platforms=platforms)


def _platform_key(name: str, row: _Table) -> Platform:
    allowed = [platform.value for platform in Platform]
    if name not in allowed:
        raise _wrong(row.file, row.path, f'"{name}"', _any_of(allowed))
    return Platform(name)


def _pin(row: _Table) -> Pin:
    pin = Pin(
        version=row.string("version"),
        archive=row.string("archive"),
        path=row.string("path"),
        size=row.integer("size"),
        sha256=row.string("sha256"),
        locked=row.string("locked", optional=True),
    )
    row.refuse_the_rest()
    return pin


def _any_of(names: Iterable[str]) -> str:
    return "one of " + ", ".join(f'"{name}"' for name in names)


def _wrong(file: str, path: str, found: str, allowed: str) -> UsageError:
    return UsageError(f"{file}: {path}: found {found}, allowed is {allowed}.\nEdit {file} and run again.")


class _Table:
    """A TOML table whose keys are taken one by one; what is left at the end was not asked for and is refused."""

    def __init__(self, file: str, path: str, content: dict[str, Any]) -> None:
        self.file = file
        self.path = path
        self._left = dict(content)
        self._known: list[str] = []

    @classmethod
    def read(cls, folder: Path, file: str) -> _Table:
        try:
            return cls(file, "", tomllib.loads((folder / file).read_text(encoding="utf-8")))
        except FileNotFoundError:
            message = f"{file} is missing below {folder}.\nIs this a whole checkout? Try: git status"
            raise UsageError(message) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            message = f"{file} is not valid TOML: {error}.\nEdit {file} and run again."
            raise UsageError(message) from None

    def _where(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _take(self, key: str, kind: type, kind_name: str) -> Any:  # noqa: ANN401 - callers name the type
        self._known.append(key)
        if key not in self._left:
            message = f"{self.file}: {self._where(key)} is missing ({kind_name}).\nEdit {self.file} and run again."
            raise UsageError(message)
        value = self._left.pop(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _wrong(self.file, self._where(key), repr(value), kind_name)
        return value

    def string(self, key: str, *, optional: bool = False) -> str:
        if optional and key not in self._left:
            self._known.append(key)
            return ""
        return str(self._take(key, str, "a string"))

    def boolean(self, key: str) -> bool:
        return bool(self._take(key, bool, "true or false"))

    def integer(self, key: str) -> int:
        return int(self._take(key, int, "a whole number"))

    def strings(self, key: str, allowed: list[str] | None = None) -> tuple[str, ...]:
        values = self._take(key, list, "a list of strings")
        for value in values:
            if not isinstance(value, str) or (allowed is not None and value not in allowed):
                raise _wrong(self.file, self._where(key), repr(value), _any_of(allowed) if allowed else "a string")
        return tuple(values)

    def string_table(self, key: str) -> dict[str, str]:
        row = self.table(key)
        return {name: row.string(name) for name in row.keys_left()}

    def table(self, key: str, *, optional: bool = False) -> _Table:
        if optional and key not in self._left:
            self._known.append(key)
            return _Table(self.file, self._where(key), {})
        return _Table(self.file, self._where(key), self._take(key, dict, "a table"))

    def tables(self, key: str, *, optional: bool = False) -> dict[str, _Table]:
        if optional and key not in self._left:
            self._known.append(key)
            return {}
        return self.table(key).all_tables()

    def all_tables(self) -> dict[str, _Table]:
        return {name: self.table(name) for name in self.keys_left()}

    def keys_left(self) -> tuple[str, ...]:
        return tuple(self._left)

    def refuse_the_rest(self) -> None:
        for key in self._left:
            message = (
                f"{self.file}: {self._where(key)}: unknown key, allowed here are {', '.join(sorted(self._known))}.\n"
                f"Edit {self.file} and run again."
            )
            raise UsageError(message)
