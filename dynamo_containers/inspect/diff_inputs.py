"""`invoke diff A B`: resolve a name to locks, a git revision or an image, and read it.

An image is read through the engine, and its own Python lists its packages: a container without a network, a second.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import engine, file_reader, process
from dynamo_containers.errors import CommandFailedError, LockError, NoEngineError, UsageError
from dynamo_containers.facts.locks import requirements
from dynamo_containers.facts.locks.download_sizes import SIZES_FILE
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.inspect import diff as difference
from dynamo_containers.inspect.diff import ImageContents, LockContents
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import manifest
from dynamo_containers.inspect.sizes import measure as size_measure
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.inspect.sizes.manifest import ImageSize

LOCKS = "constraints"
SHOWN = 20
"""How many images a message names."""
PROGRAM = Path(__file__).with_name("in_container") / "packages.py"


@dataclass(frozen=True, kw_only=True)
class LockSource:
    """Some locks, at a revision or ('') as they are in the checkout."""

    title: str
    revision: str
    path: str
    """A lock below the checkout, or the folder of all locks."""
    name: str = ""
    """The name under which a single lock is compared; '' for its path."""


def diff(folder: Path, names: tuple[str, str]) -> Result:
    """Return what differs between two images or two states of the locks.

    Raises:
        UsageError: a name is unknown, or one names locks and the other an image.
        NoEngineError: an image is named, and no engine answers.
        LockError: a lock breaks its rules.
        CommandFailedError: an image has no Python to list its packages, or it cannot run here.
    """
    before, after = (_lock_source(folder, name) for name in names)
    if before and after:
        contents = (_lock_contents(folder, source) for source in _narrowed(before, after))
        return _result(difference.of_locks(*contents))
    if before or after:
        locks, image = names if before else names[::-1]
        message = f"{locks} names locks and {image} does not: they cannot be compared.\n{_choices()}"
        raise UsageError(message)
    docker = _docker(folder, names[0])
    first, second = (_image_contents(folder, docker, name, _inspect(docker, name)) for name in names)
    return _result(difference.of_images(first, second))


def _result(content: difference.Difference) -> Result:
    return Result(text=difference.text(content), data=content)


def _choices() -> str:
    return (
        f"A and B are two images (tags or ids), two locks ({LOCKS}/NAME.txt, REVISION:{LOCKS}/NAME.txt),\n"
        f"or all locks at two revisions of git; `{LOCKS}` means all locks of the checkout."
    )


def _lock_source(folder: Path, name: str) -> LockSource | None:
    """Return the locks that a name means, None for another thing."""
    for path in ((folder / name).resolve(), Path(name).resolve()):
        if path.exists() and path.is_relative_to(folder / LOCKS):
            return LockSource(title=name, revision="", path=str(path.relative_to(folder)))
    revision, colon, lock = name.partition(":")
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    lock = lock.rstrip("/") or LOCKS
    if not commit or (colon and not _git(folder, "ls-tree", commit, lock)):
        return None
    return LockSource(title=name, revision=commit, path=lock)


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of git, '' where it fails."""
    with suppress(CommandFailedError):
        return process.capture(process.Command(argv=("git", "-C", str(folder), *arguments)))
    return ""


def _narrowed(before: LockSource, after: LockSource) -> tuple[LockSource, LockSource]:
    """Return both with the same locks: where one side is a single lock, the other side is that lock too."""
    if LOCKS not in {before.path, after.path}:  # they are compared under one name, whatever their files are called
        name = " -> ".join(dict.fromkeys(Path(source.path).stem for source in (before, after)))
        return replace(before, name=name), replace(after, name=name)
    if before.path != LOCKS:
        return before, replace(after, path=before.path)
    return (before, after) if after.path == LOCKS else (replace(before, path=after.path), after)


def _lock_contents(folder: Path, source: LockSource) -> LockContents:
    is_folder = source.path == LOCKS
    read = _reader(folder, source.revision)
    paths = _lock_paths(folder, source)
    if not is_folder and source.path not in paths:
        message = f"{source.title} has no {source.path}.\nIts locks: {', '.join(paths) or 'none'}."
        raise UsageError(message)
    texts = {path: read(path) for path in (paths if is_folder else [source.path])}
    names = {path: source.name or path for path in texts}
    sizes = _toml(source.title, SIZES_FILE, read(SIZES_FILE))
    return LockContents(
        title=source.title,
        packages={names[path]: _versions(path, text) for path, text in texts.items()},
        sizes={names[path]: _sizes(path, text, sizes) for path, text in texts.items()},
        pins=dict(_flat(_toml(source.title, PINS_FILE, read(PINS_FILE)))) if is_folder else {},
    )


def _toml(title: str, file: str, text: str) -> dict[str, Any]:
    try:
        return file_reader.parse_toml(text)
    except ValueError as error:
        message = f"{file} of {title} is not valid TOML: {error}.\nWrite it again with: invoke lock"
        raise LockError(message) from None


def _lock_paths(folder: Path, source: LockSource) -> list[str]:
    if source.revision:
        paths = _git(folder, "ls-tree", "-r", "--name-only", source.revision, f"{LOCKS}/").splitlines()
    else:
        paths = [f"{LOCKS}/{file.name}" for file in (folder / LOCKS).iterdir()]
    return sorted(path for path in paths if path.endswith(".txt"))


def _reader(folder: Path, revision: str) -> Callable[[str], str]:
    if revision:
        return lambda path: _git(folder, "show", f"{revision}:{path}")
    return lambda path: requirements.read_files_if_there(folder, [path]).get(path, "")


def _is_os_lock(path: str) -> bool:
    return Path(path).name.startswith("os-")


def _versions(path: str, text: str) -> dict[str, str]:
    if _is_os_lock(path):
        return {row[0]: row[1] for row in _os_rows(text)}
    return {package.name: package.version for package in requirements.read(text, path)}


def _sizes(path: str, text: str, stated: Mapping[str, Any]) -> dict[str, int]:
    if _is_os_lock(path):
        return {f"{row[0]}=={row[1]}": int(row[5]) for row in _os_rows(text)}
    sizes: dict[str, Any] = stated.get(Path(path).stem, {})
    return {pin: size for pin, size in sizes.items() if isinstance(size, int)}


def _os_rows(text: str) -> list[list[str]]:
    """Return the columns of the lines of a lock of OS packages, of any revision."""
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _docker(folder: Path, name: str) -> Docker:
    try:
        return engine.docker(folder)
    except NoEngineError as error:
        message = f"{name} is not a lock or a revision. Images can only be compared with a running engine.\n{error}"
        raise NoEngineError(message) from None


def _inspect(docker: Docker, name: str) -> dict[str, Any]:
    """Return what `docker image inspect` prints about an image.

    Raises:
        UsageError: the engine has no such image.
    """
    with suppress(CommandFailedError):
        command = process.Command(argv=("docker", "image", "inspect", name), env=docker.environment)
        (image,) = file_reader.parse_json(process.capture(command))
        return dict(image)
    tags = sorted(tag for tag in docker.images() if not tag.startswith("<none>"))
    more = f" and {len(tags) - SHOWN} more" if len(tags) > SHOWN else ""
    message = (
        f"{name} is not a lock, a revision of this checkout, or an image of the engine.\n"
        f"The engine has: {', '.join(tags[:SHOWN]) or 'none'}{more}.\n{_choices()}"
    )
    raise UsageError(message)


def _image_contents(folder: Path, docker: Docker, name: str, image: Mapping[str, Any]) -> ImageContents:
    return ImageContents(
        title=name,
        packages=_packages(docker, image),
        size=size_cache.recall(folder, image["Id"]) or _size(docker, image),
        settings=_settings(image),
    )


def _settings(image: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    config = image["Config"]
    keys = {"entry point": "Entrypoint", "command": "Cmd", "user": "User", "working directory": "WorkingDir"}
    values = {name: config.get(key) for name, key in keys.items()}
    return {
        "Environment": dict(line.partition("=")[::2] for line in config.get("Env") or ()),
        "Start": {
            **{name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items() if value},
            "platform": f"{image['Os']}/{image['Architecture']}",
        },
        "Labels": config.get("Labels") or {},
    }


def _size(docker: Docker, image: Mapping[str, Any]) -> ImageSize | None:
    """Return the uncompressed sizes of its layers; only a registry and some engines know the compressed ones.

    The cache has the sizes and layer names of an image that this checkout measured.
    """
    history, contents = size_measure.history(docker, image["Id"]), image["RootFS"]["Layers"]
    layers = [{"digest": digest, "size": 0} for digest in contents]
    try:
        return manifest.measured({"layers": layers}, contents, history)
    except (ValueError, IndexError):  # the history of a foreign image need not match its layers
        return None


def _packages(docker: Docker, image: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    command = process.Command(
        argv=(
            *("docker", "run", "--rm", "--pull", "never", "--network", "none", "--read-only"),
            *("--platform", f"{image['Os']}/{image['Architecture']}", "--entrypoint", "python3", image["Id"]),
            *("-I", "-B", "-c", file_reader.read_text(PROGRAM)),
        ),
        env=docker.environment,
        hint="The image needs a python3, which lists its packages.",
    )
    packages: dict[str, dict[str, str]] = file_reader.parse_json(process.capture(command))
    return packages
