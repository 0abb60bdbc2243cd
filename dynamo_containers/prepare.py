"""What does a build need from this machine before bake starts? Root images, programs, the locks' state, secrets.

Everything is cached under .build by content, so that with nothing changed this reads a few small files and is done.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from dynamo_containers import os_lock, programs, python_lock, roots, run
from dynamo_containers.build import Facts
from dynamo_containers.errors import CommandFailedError, LockError, NoSpaceError
from dynamo_containers.model import Stage, native_platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.build import Request
    from dynamo_containers.model import Image, Pins
    from dynamo_containers.os_lock import Drift, OsLock
    from dynamo_containers.roots import RootImage

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def facts(request: Request) -> Facts:
    """Check the locks, make what is missing, and return what the planner must know.

    Raises:
        LockError: a lock or a pin that the request needs is missing or stale.
        NoSpaceError: the disk cannot hold what the build would write.
        DownloadError, CommandFailedError: a root image or a program could not be made.
    """
    folder, bases = request.catalogue.folder, request.bases
    texts = _locks(request)
    check_space(request, disk_usage(folder).free)
    images, drift = _roots(request)
    if request.stage is not Stage.BASE:
        for platform in request.platforms:
            drift += programs.ensure(folder, bases, request.catalogue.pins, platform)
    if drift:
        print(os_lock.drift_table(f"the {bases.name} bases", drift), file=sys.stderr, flush=True)
    return Facts(
        version=_version(request, texts),
        revision=_revision(folder),
        locks={image.name: _digest(request, image, texts) for image in request.images},
        roots=images,
        layout=roots.layout(folder),
        programs=programs.folder_of(folder, bases, request.catalogue.pins),
        drift=tuple(dict.fromkeys(f"{row.name}={row.used}" for row in drift)),
        secrets=secrets(folder, os.environ),
    )


def python_layers(image: Image, stage: Stage) -> tuple[str, ...]:
    """Return the layers whose Python locks go into an image of a stage."""
    return {
        Stage.BASE: ("builder", "base"),
        Stage.RUNTIME: ("builder", "base", image.name),
    }.get(stage, ("builder", "base", image.name, f"{image.name}-{stage.value}"))


def _locks(request: Request) -> dict[str, str]:
    """Return the texts of the Python locks that the request needs, after checking that they are current."""
    layers = {layer for image in request.images for layer in python_layers(image, request.stage)}
    platforms = {*request.platforms, native_platform()}
    texts = {}
    for lock in python_lock.locks(request.catalogue):
        if lock.layer.name in layers and lock.target.bases == request.bases.name and lock.target.platform in platforms:
            if reason := python_lock.stale(lock, request.catalogue.folder):
                raise LockError(reason)
            texts[lock.path] = (request.catalogue.folder / lock.path).read_text(encoding="utf-8")
    return texts


def _version(request: Request, texts: Mapping[str, str]) -> str:
    name = request.catalogue.version_of
    pins = (pin for path, text in texts.items() if path.startswith("constraints/base-") for pin in python_lock.read(text))
    return next(pin.version for pin in pins if pin.name == name)


def _digest(request: Request, image: Image, texts: Mapping[str, str]) -> str:
    """Return a digest over everything locked that goes into an image, on every platform it is made for.

    All platforms, although one may be built: a label has one value for all platforms of an image.
    """
    folder, bases = request.catalogue.folder, request.bases
    layers = python_layers(image, request.stage)
    roles = ("builder",) if request.stage is Stage.BASE else ("builder", "runtime")
    files = [lock.path for lock in python_lock.locks(request.catalogue) if lock.layer.name in layers]
    files += [
        os_lock.OsLock(bases=bases, role=role, platform=platform).file for role in roles for platform in image.platforms
    ]
    content = [f"{name}\n{texts.get(name) or (folder / name).read_text(encoding='utf-8')}" for name in sorted(files)]
    content += [f"{key}\n{pin.sha256}" for key, pin in request.catalogue.pins.programs.items()]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def check_space(request: Request, free: int) -> None:
    """Refuse a build that the disk cannot hold.

    Raises:
        NoSpaceError: with what is needed and what is there.
    """
    needed = sum(image.disk_mb for image in request.images) * len(request.platforms) * 10**6
    if free < needed:
        message = (
            f"There is not enough disk space: this build needs about {needed / 1e9:.1f} GB below "
            f"{request.catalogue.folder}, and {free / 1e9:.1f} GB is free.\n"
            "Free some, for example with: docker system prune (your own engine), or invoke engine.down --purge (ours)"
        )
        raise NoSpaceError(message)


def _roots(request: Request) -> tuple[dict[str, str], tuple[Drift, ...]]:
    """Make the root images that the request stands on; return an index per role, and what drifted."""
    roles = ("builder",) if request.stage is Stage.BASE else ("builder", "runtime")
    # The builder of this machine's own platform serves every install step, whatever is built.
    wanted = {(role, platform) for role in roles for platform in request.platforms} | {("builder", native_platform())}
    locks = [os_lock.OsLock(bases=request.bases, role=role, platform=platform) for role, platform in wanted]
    made = roots.ensure_all(request.catalogue.folder, locks, request.catalogue.pins.epoch)
    by_role = {role: {lock.platform: root for lock, root in made if lock.role == role} for role in roles}
    indexes = {role: roots.write_index(request.catalogue.folder, images) for role, images in by_role.items()}
    return indexes, tuple(row for lock, root in made for row in drift_of(lock, root, request.catalogue.pins))


def drift_of(lock: OsLock, root: RootImage, pins: Pins) -> tuple[Drift, ...]:
    """Return in what a root image is not what its lock and its pin say.

    Raises:
        LockError: it has no pin, or (strict bases) it is another one than pinned.
    """
    pinned = pins.root(lock.bases.name, lock.role, lock.platform)
    if root.digest == pinned or root.drift:
        return root.drift
    if lock.bases.strict:
        message = (
            f"The root image {lock.role} for {lock.platform.value} came out as {root.digest}, not as the pinned {pinned}, "
            "although its packages are the locked ones: another mmdebstrap, or a package that writes the time.\n"
            "Compare, and if it is right pin it with: invoke lock --only images"
        )
        raise LockError(message)
    return (os_lock.Drift(name=f"root-{lock.role}-{lock.platform.arch}", locked=pinned, used=root.digest),)


def _revision(folder: Path) -> str:
    argv = ("git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    try:
        return run.capture(run.Command(argv=argv)).strip()
    except CommandFailedError:
        return "unknown"  # a source archive has no history


def secrets(folder: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets of bake: what this machine needs to reach an index, mounted for single steps, never kept."""
    certificates = Path(environment.get("SSL_CERT_FILE", CERTIFICATES))
    netrc = Path(environment.get("NETRC", Path.home() / ".netrc"))
    found = [f"id={name},src={path}" for name, path in (("ca", certificates), ("netrc", netrc)) if path.is_file()]
    if address := index_address(environment):
        file = folder / ".build" / "secrets" / "index"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.write(run.Document(path=file, text=address))
        found.append(f"id=index,src={file}")
    return tuple(found)


def index_address(environment: Mapping[str, str]) -> str:
    """Return the index that pip is configured with on this machine, '' for pip's default.

    The variable, else pip's files, the later ones win (https://pip.pypa.io/en/stable/topics/configuration/).
    """
    if address := environment.get("PIP_INDEX_URL", ""):
        return address
    home, named = Path.home(), environment.get("PIP_CONFIG_FILE", "")
    files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    texts = [text for file in (*files, Path(sys.prefix) / "pip.conf", named) if (text := _text(Path(file)))]
    if not any("index-url" in text for text in texts):
        return ""
    from configparser import RawConfigParser

    parser = RawConfigParser()
    for text in texts:
        parser.read_string(text)
    return parser.get("global", "index-url", fallback="")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""
