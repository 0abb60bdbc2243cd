"""`invoke diff A B`: resolve a name to locks, a git revision or an image, and read it.

Of an image the engine is asked, and the image's own Python for its packages: a container without a network, a second.
"""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import engine, process
from dynamo_containers.errors import CommandFailedError, LockError, NoEngineError, UsageError
from dynamo_containers.facts.locks import requirements
from dynamo_containers.facts.locks.download_sizes import SIZES_FILE
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.inspect import diff as image_diff
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import manifest
from dynamo_containers.inspect.sizes import measure as size_measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dynamo_containers.inspect.diff import Locked, Looked
    from dynamo_containers.inspect.sizes.manifest import ImageSize

LOCKS = "constraints"
SHOWN = 20
"""How many images a message names."""
PROGRAM = Path(__file__).with_name("in_container") / "packages.py"


@dataclass(frozen=True, kw_only=True)
class Locks:
    """Some locks, at a revision or ('') as they lie in the checkout."""

    title: str
    revision: str
    path: str
    """A lock below the checkout, or the folder of them all."""
    called: str = ""
    """Under which name a single lock is compared; '' for its path."""


def diff(folder: Path, words: tuple[str, str]) -> str:
    """Return what differs between what two words mean.

    Raises:
        UsageError: a word means nothing, or one means locks and the other an image.
        NoEngineError: an image is meant, and no engine answers.
        LockError: a lock breaks its rules.
        CommandFailedError: an image has no Python of its own to say what is in it, or it cannot be run here.
    """
    one, other = (_locks(folder, word) for word in words)
    if one and other:
        return image_diff.of_locks(*(_locked(folder, each) for each in _narrowed(one, other)))
    if one or other:
        locks, image = words if one else words[::-1]
        message = f"{locks} are locks, and {image} is none: they cannot be compared.\n{_what_there_may_be()}"
        raise UsageError(message)
    environment = _engine(folder, words[0])
    found = [_looked(folder, environment, word, _inspected(environment, word)) for word in words]
    return image_diff.of_images(found[0], found[1])


def _what_there_may_be() -> str:
    return (
        f"A and B are two images (tags or ids), two locks ({LOCKS}/NAME.txt, REVISION:{LOCKS}/NAME.txt),\n"
        f"or all locks at two revisions of git; `{LOCKS}` means all of them as they are now."
    )


def _locks(folder: Path, word: str) -> Locks | None:
    """Return the locks that a word means, None for none."""
    for path in ((folder / word).resolve(), Path(word).resolve()):
        if path.exists() and path.is_relative_to(folder / LOCKS):
            return Locks(title=word, revision="", path=str(path.relative_to(folder)))
    revision, colon, name = word.partition(":")
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    name = name.rstrip("/") or LOCKS
    if not commit or (colon and not _git(folder, "ls-tree", commit, name)):
        return None
    return Locks(title=word, revision=commit, path=name)


def _git(folder: Path, *words: str) -> str:
    """Return what git says, '' where it refuses."""
    with suppress(CommandFailedError):
        return process.capture(process.Command(argv=("git", "-C", str(folder), *words)))
    return ""


def _narrowed(one: Locks, other: Locks) -> tuple[Locks, Locks]:
    """Return the same with as many locks on both sides: where one side is a single lock, the other is that lock too."""
    if LOCKS not in {one.path, other.path}:  # they are compared under one name, whatever they are called
        called = " -> ".join(dict.fromkeys(Path(each.path).stem for each in (one, other)))
        return replace(one, called=called), replace(other, called=called)
    if one.path != LOCKS:
        return one, replace(other, path=one.path)
    return (one, other) if other.path == LOCKS else (replace(one, path=other.path), other)


def _locked(folder: Path, locks: Locks) -> Locked:
    whole = locks.path == LOCKS
    read = _reader(folder, locks.revision)
    every = _names(folder, locks)
    names = every if whole else [locks.path]
    if not {*names} <= {*every}:
        message = f"{locks.title} has no {locks.path}.\nIts locks: {', '.join(every) or 'none'}."
        raise UsageError(message)
    called = {name: locks.called or name for name in names}
    texts = {name: read(name) for name in names}
    stated = _toml(locks.title, SIZES_FILE, read(SIZES_FILE))
    return image_diff.Locked(
        title=locks.title,
        packages={called[name]: _versions(name, text) for name, text in texts.items()},
        sizes={called[name]: _sizes(name, text, stated) for name, text in texts.items()},
        pins=dict(_flat(_toml(locks.title, PINS_FILE, read(PINS_FILE)))) if whole else {},
    )


def _toml(title: str, file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{file} of {title} is no TOML: {error}.\nIt is written by `invoke lock`, which renews it."
        raise LockError(message) from None


def _names(folder: Path, locks: Locks) -> list[str]:
    if locks.revision:
        found = _git(folder, "ls-tree", "-r", "--name-only", locks.revision, f"{LOCKS}/").splitlines()
    else:
        found = [f"{LOCKS}/{file.name}" for file in (folder / LOCKS).iterdir()]
    return sorted(name for name in found if name.endswith(".txt"))


def _reader(folder: Path, revision: str) -> Callable[[str], str]:
    if revision:
        return lambda path: _git(folder, "show", f"{revision}:{path}")
    return lambda path: (folder / path).read_text(encoding="utf-8") if (folder / path).is_file() else ""


def _is_system(name: str) -> bool:
    return Path(name).name.startswith("os-")


def _versions(name: str, text: str) -> dict[str, str]:
    if _is_system(name):
        return {words[0]: words[1] for words in _system(text)}
    return {each.name: each.version for each in requirements.read(text, name)}


def _sizes(name: str, text: str, stated: Mapping[str, Any]) -> dict[str, int]:
    if _is_system(name):
        return {f"{words[0]}=={words[1]}": int(words[5]) for words in _system(text)}
    sizes: dict[str, Any] = stated.get(Path(name).stem, {})
    return {pin: size for pin, size in sizes.items() if isinstance(size, int)}


def _system(text: str) -> list[list[str]]:
    """Return the words of the lines of a lock of OS packages, of any revision."""
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", str(value)


def _engine(folder: Path, word: str) -> dict[str, str]:
    try:
        return engine.environment(folder)
    except NoEngineError as error:
        message = f"{word} is no lock and no revision, so it must be an image, which only an engine knows.\n{error}"
        raise NoEngineError(message) from None


def _inspected(environment: Mapping[str, str], word: str) -> dict[str, Any]:
    with suppress(CommandFailedError):
        command = process.Command(argv=("docker", "image", "inspect", word), env=environment)
        (found,) = json.loads(process.capture(command))
        return dict(found)
    having = sorted(tag for tag in engine.images(environment) if not tag.startswith("<none>"))
    more = f" and {len(having) - SHOWN} more" if len(having) > SHOWN else ""
    message = (
        f"{word} is no lock, no revision of this checkout, and no image that the engine has.\n"
        f"It has: {', '.join(having[:SHOWN]) or 'none'}{more}.\n{_what_there_may_be()}"
    )
    raise UsageError(message)


def _looked(folder: Path, environment: Mapping[str, str], word: str, found: Mapping[str, Any]) -> Looked:
    return image_diff.Looked(
        title=word,
        packages=_packages(environment, found),
        size=size_cache.recall(folder, found["Id"]) or _size(environment, found),
        settings=_settings(found),
    )


def _settings(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    config = found["Config"]
    words = {"entry point": "Entrypoint", "command": "Cmd", "user": "User", "working directory": "WorkingDir"}
    said = {name: config.get(key) for name, key in words.items()}
    return {
        "Environment": dict(line.partition("=")[::2] for line in config.get("Env") or ()),
        "How it is started": {
            **{name: value if isinstance(value, str) else json.dumps(value) for name, value in said.items() if value},
            "platform": f"{found['Os']}/{found['Architecture']}",
        },
        "Labels": config.get("Labels") or {},
    }


def _size(environment: Mapping[str, str], found: Mapping[str, Any]) -> ImageSize | None:
    """Return the sizes of its layers, as files: the compressed ones are known to a registry, not to every engine.

    Of an image that this checkout measured they are remembered, and after which steps its layers are called.
    """
    history, contents = size_measure.history(environment, found["Id"]), found["RootFS"]["Layers"]
    layers = [{"digest": digest, "size": 0} for digest in contents]
    try:
        return manifest.measured({"layers": layers}, contents, history)
    except (ValueError, IndexError):  # whose image comes from elsewhere writes its history as he likes
        return None


def _packages(environment: Mapping[str, str], found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    command = process.Command(
        argv=(
            *("docker", "run", "--rm", "--pull", "never", "--network", "none", "--read-only"),
            *("--platform", f"{found['Os']}/{found['Architecture']}", "--entrypoint", "python3", found["Id"]),
            *("-I", "-B", "-c", PROGRAM.read_text(encoding="utf-8")),
        ),
        env=environment,
        hint="The image's own python3 says which packages it has.",
    )
    packages: dict[str, dict[str, str]] = json.loads(process.capture(command))
    return packages
