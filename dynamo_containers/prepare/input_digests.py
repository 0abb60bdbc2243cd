"""Digests of the inputs of each target, now and at the last build here.

A target is the same in every image of the same bases and architecture, so all of these share one record. The record
lists what was built here. It does not list what the engine still has: an engine may delete layers by itself.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from stat import S_IXUSR
from typing import TYPE_CHECKING, TypeAlias

from dynamo_containers import file_reader, state
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


def record_path(folder: Path, bases: Bases, platform: Platform) -> Path:
    """Return the path of the record: the inputs that the targets of some bases had at the last build."""
    return folder / state.STEPS / f"{bases.name}-{platform.arch}.json"


def last_inputs(folder: Path, bases: Bases, platform: Platform) -> dict[str, Inputs]:
    """Return target -> inputs at the last build; {} without a record, or with one that cannot be read."""
    record = file_reader.cached_json(record_path(folder, bases, platform))
    rows = record.items() if isinstance(record, dict) else ()
    return {target: inputs for target, inputs in rows if isinstance(inputs, dict)}


def record_documents(plan: BuildPlan) -> tuple[Document, ...]:
    """Return the records to write after a plan was carried out: the inputs of its targets."""
    folder, bases, digests = plan.request.catalogue.folder, plan.request.bases, Digests()
    documents = []
    for platform in plan.request.platforms:
        inputs = last_inputs(folder, bases, platform) | target_inputs(plan, platform, digests)
        text = json.dumps(inputs, indent=1, sort_keys=True) + "\n"
        documents.append(Document(path=record_path(folder, bases, platform), text=text))
    return tuple(documents)


def is_unchanged(plan: BuildPlan) -> bool:
    """Return whether every target of a plan had its present inputs at the last build."""
    folder, bases, digests = plan.request.catalogue.folder, plan.request.bases, Digests()
    return all(
        target_inputs(plan, platform, digests).items() <= last_inputs(folder, bases, platform).items()
        for platform in plan.request.platforms
    )


class Digests:
    """Digests of files: sha256, and whether the file is executable. Each file is read once."""

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}
        self._summaries: dict[Path, Summary] = {}

    def digest(self, file: Path) -> str:
        """Return the digest of a file, '' for a file that does not exist."""
        if file not in self._digests:
            self._digests[file] = _digest(file) if file.is_file() else ""
        return self._digests[file]

    def add_unwritten(self, inputs: BuildInputs) -> None:
        """Add the digests of the layer pins that are not written yet; a build writes them before it starts."""
        for layer in (layer for layers in inputs.package_layers.values() for layer in layers):
            for name, text in layer.unwritten.items():
                self._digests[layer.folder / name] = _sha256(text.encode())

    def summary(self, folder: Path) -> Summary:
        """Return the arguments and mounts of the Dockerfile in a folder."""
        if folder not in self._summaries:
            self._summaries[folder] = dockerfile.summary(file_reader.read_text(folder / "Dockerfile"))
        return self._summaries[folder]


def _digest(file: Path) -> str:
    executable = "+x" if file.stat().st_mode & S_IXUSR else ""  # the only part of a mode in git
    return _sha256(file_reader.read_bytes(file)) + executable


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def target_inputs(plan: BuildPlan, platform: Platform, digests: Digests) -> dict[str, Inputs]:
    """Return target -> input, as a person would name it -> digest, for one platform."""
    native = plan.parts[0].inputs.native
    for part in plan.parts:
        digests.add_unwritten(part.inputs)
    return {
        # Only the target `tools` has no platform: it is for the machine that builds.
        name: dict(_inputs(plan.request, target, platform if target.platforms else native, digests))
        for name, target in plan.graph.targets.items()
    }


def _inputs(request: Request, target: Target, platform: Platform, digests: Digests) -> Iterator[tuple[str, str]]:
    checkout, folder = request.catalogue.folder, target.folder
    summary = digests.summary(folder)
    if target.dockerfile:  # BuildKit compares the files of a source by itself
        yield "the source", target.context
    yield from ((f"argument {key}", value) for key, value in target.args.items() if key in summary.arguments)
    yield from _tree(checkout, folder, digests)
    for name, value in target.contexts.items():
        if name == f"root-{platform.arch}":
            yield f"the root image in {PINS_FILE}", value.partition("@")[2] or value
        elif name in ("debs", "rpms"):
            path = Path(lock_of(request.bases, package_set(request.bases, value), platform).file)
            yield str(path), digests.digest(checkout / path)
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
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    yield from ((_title(checkout, file), digests.digest(file)) for file in files)


def _title(checkout: Path, file: Path) -> str:
    """Return the name of a file in a message. Pins of an image layer are named by their lock and layer."""
    path = file.relative_to(checkout)
    if not path.is_relative_to(state.LAYER_PINS):
        return str(path)
    folder, layer, name = path.parts[2:]
    return f"image layer {layer} of {folder[:-17]} in constraints/ ({name.removesuffix('.txt')})"


def package_set(bases: Bases, folder: str) -> str:
    """Return the name of the set of OS packages in a folder of .debs or RPMs."""
    return Path(folder).name.removeprefix(f"{bases.name}-")[:-17]


def _programs(bases: Bases, pins: Pins, platform: Platform) -> str:
    rows = [
        f"{name} {pins.programs.get((bases.name, name, platform))} {row.files}" for name, row in bases.programs.items()
    ]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:32]
