"""Digests of the inputs of each target, now and at the last build here.

A step is the same one in every image of the same bases and architecture, so there is one record for those, whichever
image was built. It says what was built here, not what the engine still keeps: an engine may forget layers by itself.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from stat import S_IXUSR
from typing import TYPE_CHECKING, TypeAlias

from dynamo_containers import state
from dynamo_containers.facts.locks.os_lock import lock_of
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.plan import dockerfile
from dynamo_containers.plan.target import LINK
from dynamo_containers.process import Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.pins import Pins
    from dynamo_containers.plan.bake import BuildPlan
    from dynamo_containers.plan.dockerfile import Summary
    from dynamo_containers.plan.request import BuildInputs, Request
    from dynamo_containers.plan.target import Target
    from dynamo_containers.platforms import Platform

    Inputs: TypeAlias = Mapping[str, str]


def record_of(folder: Path, bases: Bases, platform: Platform) -> Path:
    """Return the file that says with which inputs the steps of some bases were done last, below the checkout."""
    return folder / state.STEPS / f"{bases.name}-{platform.arch}.json"


def last(folder: Path, bases: Bases, platform: Platform) -> dict[str, Inputs]:
    """Return step -> inputs of the last build; nothing where nothing was built, or by another version of this."""
    try:
        found: dict[str, Inputs] = json.loads(record_of(folder, bases, platform).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def records(plan: BuildPlan) -> tuple[Document, ...]:
    """Return what is to be written down once a plan was carried out: what its targets were built from."""
    folder, bases, digests = plan.request.catalogue.folder, plan.request.bases, Digests()
    documents = []
    for platform in plan.request.platforms:
        inputs = last(folder, bases, platform) | inputs_of(plan, platform, digests)
        text = json.dumps(inputs, indent=1, sort_keys=True) + "\n"
        documents.append(Document(path=record_of(folder, bases, platform), text=text))
    return tuple(documents)


def unchanged(plan: BuildPlan) -> bool:
    """Return whether every target of a plan was built last with its present inputs."""
    folder, bases, digests = plan.request.catalogue.folder, plan.request.bases, Digests()
    return all(
        inputs_of(plan, platform, digests).items() <= last(folder, bases, platform).items()
        for platform in plan.request.platforms
    )


class Digests:
    """The sha256 of files and whether they are programs; what several steps use is read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}
        self._summaries: dict[Path, Summary] = {}

    def of(self, file: Path) -> str:
        """Return the digest of a file, '' for one that is not there."""
        if file not in self._known:
            self._known[file] = _digest(file) if file.is_file() else ""
        return self._known[file]

    def add_unwritten(self, inputs: BuildInputs) -> None:
        """Take the digests of layer pins that no file has yet, which a build writes first."""
        for part in (part for parts in inputs.package_layers.values() for part in parts):
            for name, text in part.unwritten.items():
                self._known[part.folder / name] = _sha256(text.encode())

    def summary(self, folder: Path) -> Summary:
        """Return what the Dockerfile in a folder says."""
        if folder not in self._summaries:
            self._summaries[folder] = dockerfile.summary((folder / "Dockerfile").read_text(encoding="utf-8"))
        return self._summaries[folder]


def _digest(file: Path) -> str:
    program = "+x" if file.stat().st_mode & S_IXUSR else ""  # all that git keeps of a mode
    return _sha256(file.read_bytes()) + program


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def inputs_of(plan: BuildPlan, platform: Platform, digests: Digests) -> dict[str, Inputs]:
    """Return target -> what a person would look at -> its digest, for one platform."""
    native = plan.parts[0].inputs.native
    for part in plan.parts:
        digests.add_unwritten(part.inputs)
    return {
        # Only `tools` names no platform: it is for the machine that builds.
        name: dict(_inputs(plan.request, target, platform if target.platforms else native, digests))
        for name, target in plan.graph.targets.items()
    }


def _inputs(request: Request, target: Target, platform: Platform, digests: Digests) -> Iterator[tuple[str, str]]:
    checkout, folder = request.catalogue.folder, target.folder
    summary = digests.summary(folder)
    if target.dockerfile:  # what changed in a source is BuildKit's to find out, file by file
        yield "the source", target.context
    yield from ((f"argument {key}", value) for key, value in target.args.items() if key in summary.arguments)
    yield from _tree(checkout, folder, digests)
    for name, value in target.contexts.items():
        if name == f"root-{platform.arch}":
            yield f"the root image in {PINS_FILE}", value.partition("@")[2] or value
        elif name in ("debs", "rpms"):
            path = Path(lock_of(request.bases, set_of(request.bases, value), platform).file)
            yield str(path), digests.of(checkout / path)
        elif name == "programs":
            yield f"programs in {PINS_FILE}", _programs(request.bases, request.catalogue.pins, platform)
        elif name == "archives":
            yield f"a toolchain in {PINS_FILE}", Path(value).name
        elif not value.startswith((LINK, "oci-layout:", "docker-image:")):
            arguments = {**target.args, "TARGETARCH": platform.arch}
            sources = [_filled(mount.source, arguments) for mount in summary.mounts if mount.context == name]
            yield from (row for source in sources for row in _tree(checkout, Path(value) / source, digests))


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    for name, value in arguments.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def _tree(checkout: Path, path: Path, digests: Digests) -> Iterator[tuple[str, str]]:
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    yield from ((_title(checkout, file), digests.of(file)) for file in files)


def _title(checkout: Path, file: Path) -> str:
    """Return how a message names a file: a piece of a lock by that lock, whose other pieces decide other steps."""
    path = file.relative_to(checkout)
    if not path.is_relative_to(state.LAYER_PINS):
        return str(path)
    layer, piece, name = path.parts[2:]
    return f"piece {piece} of {layer[:-17]} in constraints/ ({name.removesuffix('.txt')})"


def set_of(bases: Bases, folder: str) -> str:
    """Return which set of OS packages a folder of .debs or RPMs is."""
    return Path(folder).name.removeprefix(f"{bases.name}-")[:-17]


def _programs(bases: Bases, pins: Pins, platform: Platform) -> str:
    rows = [
        f"{name} {pins.programs.get((bases.name, name, platform))} {row.files}" for name, row in bases.programs.items()
    ]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:32]
