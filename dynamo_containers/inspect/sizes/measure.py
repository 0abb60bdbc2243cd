"""Measurement of a built image, by the engine or from manifests of the private one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import process, progress
from dynamo_containers.errors import LockError
from dynamo_containers.facts.catalogue import InstallFrom
from dynamo_containers.inspect.sizes import accepted as accepted_sizes
from dynamo_containers.inspect.sizes import budget, shared_layers
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import contents as image_contents
from dynamo_containers.inspect.sizes import manifest as sizes_manifest
from dynamo_containers.inspect.sizes.accepted import Accepted
from dynamo_containers.inspect.sizes.shared_layers import Beside, Origin
from dynamo_containers.plan.bake import tag
from dynamo_containers.plan.labels import root_role
from dynamo_containers.plan.target import TARGET
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.inspect.sizes.manifest import ImageSize
    from dynamo_containers.plan.bake import Facts, Request

BLOBS = "containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
"""Where dockerd with the containerd image store has the manifests, below its data root (containerd: content store)."""
PACKAGES = "packages"
"""The folder of containers/ whose steps install Python packages that are not Dynamo."""
TREES = ("fetched", "base", PACKAGES, "wheels", "dynamo", "frontend")
"""The folders of containers/ whose steps put a `/tree` on the image."""
INSIDE = Path(__file__).parents[1] / "in_container/contents.py"
MOUNTED = "/run/contents.py"
SECONDS = 60
"""How long the engine may take to say what an image is."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the engine says of an image."""

    tag: str
    digest: str
    """Of its manifest, by which the engine knows it."""
    manifest: Mapping[str, Any]
    contents: tuple[str, ...]
    """The digests of its layers before they were compressed."""
    origin: Origin

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests of its layers, of both kinds."""
        return (*self.contents, *(layer["digest"] for layer in self.manifest["layers"]))


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image of one platform that was measured."""

    name: str
    """Under which its sizes are accepted: image, stage, bases and architecture."""
    image: Image
    stored: Stored
    size: ImageSize
    numbers: Mapping[str, int]
    besides: tuple[Beside, ...]
    """The other images that share a layer with it."""


def steps_of(targets: Mapping[str, Any], top: str) -> tuple[tuple[str, str], ...]:
    """Return (name, folder) of the steps of a bake document that put a `/tree` on an image, from below."""
    found: list[tuple[str, str]] = []
    name = top
    while name in targets:
        contexts, folder = targets[name]["contexts"], targets[name]["context"].rpartition("/")[2]
        found += [(name, folder)] if folder in TREES else []
        name = (contexts.get("dynamo") or contexts.get("below") or "").removeprefix(TARGET)
    return tuple(reversed(found))


def measure(request: Request, facts: Facts, environment: Mapping[str, str], text: str) -> tuple[Built, ...]:
    """Return the sizes of the images of a request that the private engine has; `text` is the bake document.

    An image whose manifest cannot be read, that of another engine or of several platforms, is named and left out.

    Raises:
        CommandFailedError: the engine has no such image.
    """
    if len(request.platforms) > 1:
        say("Budgets were NOT CHECKED: an image of several platforms is measured when one of them is built alone.")
        return ()
    targets = json.loads(text)["target"]
    found = (_measure(request, facts, image, environment, targets) for image in request.images)
    return tuple(built for built in found if built)


def _measure(
    request: Request, facts: Facts, image: Image, environment: Mapping[str, str], targets: Mapping[str, Any]
) -> Built | None:
    name = tag(image, request.stage, request.bases, request.platforms, facts.version)
    asked = process.capture(_inspect(environment, name))
    stored = _stored(request.catalogue.folder, name, asked)
    if stored is None:
        say(f"The budget of {name} was NOT CHECKED: only the private engine shows the sizes of compressed layers.")
        return None
    if image.install_from is InstallFrom.IMAGE:
        say(f"The budget of {name} was NOT CHECKED: whose engine publishes an image writes its history as it likes.")
        return None
    top = next(target for target, row in targets.items() if name in row.get("tags", ()))
    steps = steps_of(targets, top)
    size = _size(request.catalogue.folder, environment, stored, [step for step, _ in steps])
    packages = [step for step, folder in steps if folder == PACKAGES]
    bump = sizes_manifest.above(size, packages[-1]) if packages else None
    besides = tuple(
        beside(request, facts, other, stored.origin, environment) for other in shared_layers.others(request, image)
    )
    numbers = budget.numbers(size, bump=bump, second=shared_layers.to_pull(size, besides))
    name = key(request, image)
    return Built(name=name, image=image, stored=stored, size=size, numbers=numbers, besides=besides)


def size_of(
    folder: Path, environment: Mapping[str, str], name: str, trees: Sequence[str]
) -> tuple[str, ImageSize] | None:
    """Return the digest and the size of the image that has a tag; None where the engine keeps that elsewhere.

    Raises:
        CommandFailedError: the engine has no such image.
    """
    stored = _stored(folder, name, process.capture(_inspect(environment, name)))
    return (stored.digest, _size(folder, environment, stored, trees)) if stored else None


def _size(folder: Path, environment: Mapping[str, str], stored: Stored, trees: Sequence[str]) -> ImageSize:
    known = size_cache.recall(folder, stored.digest)
    if known:
        return known
    size = sizes_manifest.measured(stored.manifest, stored.contents, history(environment, stored.tag), trees)
    size_cache.remember(folder, stored.digest, size)
    return size


def key(request: Request, image: Image) -> str:
    """Return the name under which the sizes of an image are accepted, and compared from one build to the next."""
    return f"{image.name}-{request.stage.value}-{request.bases.name}-{request.platforms[0].arch}"


def _inspect(environment: Mapping[str, str], name: str) -> process.Command:
    return process.Command(argv=("docker", "image", "inspect", "--format={{json .}}", name), env=environment)


def _stored(folder: Path, name: str, asked: str) -> Stored | None:
    """Return what `docker image inspect` and the manifest say; None where the engine keeps that elsewhere."""
    said = json.loads(asked or "{}")
    blob = folder / ".engine/data" / BLOBS / said.get("Id", "").removeprefix("sha256:")
    manifest = json.loads(blob.read_bytes()) if blob.is_file() else {}
    if "layers" not in manifest:
        return None
    labels = said["Config"].get("Labels") or {}
    origin = Origin(lock=labels.get("ai.dynamo.lock", ""), drift=labels.get("ai.dynamo.drift", ""))
    contents = tuple(said["RootFS"]["Layers"])
    return Stored(tag=name, digest=said["Id"], manifest=manifest, contents=contents, origin=origin)


def history(environment: Mapping[str, str], name: str) -> tuple[tuple[int, str], ...]:
    """Return (bytes, created by) of every line of an image's history, from below.

    Raises:
        CommandFailedError: the engine has no such image.
    """
    argv = ("docker", "history", "--no-trunc", "--human=false", "--format={{json .}}", name)
    rows = [json.loads(line) for line in process.capture(process.Command(argv=argv, env=environment)).splitlines()]
    return tuple((int(row["Size"]), row["CreatedBy"]) for row in reversed(rows))


def beside(request: Request, facts: Facts, other: Image, own: Origin, environment: Mapping[str, str]) -> Beside:
    """Find out what is known of another image as this checkout would make it; `own` is the origin of the pulled one."""
    folder, theirs = request.catalogue.folder, replace(request, images=(other,))
    try:
        lock = inputs.stated(theirs).locks[other.name]
    except LockError as error:
        return Beside(name=other.name, said=str(error).splitlines()[0])
    name = tag(other, request.stage, request.bases, request.platforms, facts.version)
    asked = process.query(_inspect(environment, name), seconds=SECONDS)
    stored = _stored(folder, name, asked.stdout) if asked.returncode == 0 else None
    return shared_layers.beside(
        other.name,
        Origin(lock=f"sha256:{lock}", drift=own.drift),
        (stored.origin, stored.digests) if stored else None,
        accepted_sizes.read(folder).get(key(theirs, other), Accepted()),
    )


def contents(request: Request, built: Built, environment: Mapping[str, str]) -> dict[str, int]:
    """Return the unpacked bytes of the packages and files of an image, as `image_contents.folded` gives them.

    Raises:
        CommandFailedError: the image's Python did not run: an engine without emulation, for example.
    """
    say(f"Counting the packages and files of {built.stored.tag}")
    interpreter = request.bases.interpreter_of(root_role(request.stage))
    argv = (
        *("docker", "run", "--rm", "--pull=never", "--network=none", "--user=0:0"),
        *(f"--platform={request.platforms[0].value}", f"--volume={INSIDE}:{MOUNTED}:ro"),
        *(f"--entrypoint={interpreter}", built.stored.tag, "-I", "-B", MOUNTED),
    )
    return image_contents.folded(json.loads(process.capture(process.Command(argv=argv, env=environment))))


def say(line: str) -> None:
    """Print a line beside what a command prints."""
    progress.say(line)
