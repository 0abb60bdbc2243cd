"""Measurement of a built image, from the manifests of the private engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader, process, progress, state
from dynamo_containers.errors import CommandFailedError, LockError
from dynamo_containers.facts.catalogue import InstallFrom
from dynamo_containers.inspect.sizes import accepted as accepted_sizes
from dynamo_containers.inspect.sizes import budget, shared_layers
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes import contents as image_contents
from dynamo_containers.inspect.sizes import manifest as sizes_manifest
from dynamo_containers.inspect.sizes.accepted import Accepted
from dynamo_containers.inspect.sizes.shared_layers import Origin, OtherBackend
from dynamo_containers.plan.bake import tag
from dynamo_containers.plan.labels import root_role
from dynamo_containers.plan.target import LINK
from dynamo_containers.prepare import inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamo_containers.docker_cli import Docker
    from dynamo_containers.facts.catalogue import Image
    from dynamo_containers.inspect.sizes.manifest import ImageSize
    from dynamo_containers.plan.bake import BakeGraph, PlannedImage
    from dynamo_containers.plan.request import BuildInputs, BuildPart, Request
    from dynamo_containers.plan.target import Targets

BLOBS = "containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
"""The folder of manifests below dockerd's data root, with the containerd image store."""
PACKAGES = "packages"
"""The folder of containers/ whose targets install Python packages other than Dynamo."""
TREES = ("fetched", "base", PACKAGES, "wheels", "dynamo", "frontend")
"""The folders of containers/ whose targets copy a `/tree` into the image."""
INSIDE = Path(__file__).parents[1] / "in_container/contents.py"
MOUNTED = "/run/contents.py"
SECONDS = 60
"""How long the engine may take to inspect an image."""


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image in the engine's store."""

    tag: str
    digest: str
    """Digest of its manifest, by which the engine names it."""
    manifest: Mapping[str, Any]
    contents: tuple[str, ...]
    """The digests of its uncompressed layers."""
    origin: Origin

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests of its layers, of both kinds."""
        return (*self.contents, *(layer["digest"] for layer in self.manifest["layers"]))


@dataclass(frozen=True, kw_only=True)
class SizedImage:
    """An image of one platform with its size."""

    name: str
    """Image, stage, bases and architecture: the key of its accepted sizes."""
    image: Image
    stored: StoredImage
    size: ImageSize
    numbers: Mapping[str, int]
    """Key of a budget -> the measured number."""
    backends: tuple[OtherBackend, ...]
    """The other images that share a layer with it."""


def package_targets(targets: Targets, top: str) -> tuple[tuple[str, str], ...]:
    """Return (name, folder) of the targets that copy a `/tree` into an image, from the lowest on."""
    chain: list[tuple[str, str]] = []
    name = top
    while name in targets:
        contexts, folder = targets[name].contexts, targets[name].context.rpartition("/")[2]
        chain += [(name, folder)] if folder in TREES else []
        name = (contexts.get("dynamo") or contexts.get("below") or "").removeprefix(LINK)
    return tuple(reversed(chain))


def measure(part: BuildPart, graph: BakeGraph, docker: Docker) -> tuple[SizedImage, ...]:
    """Return the sizes of the images of a request in the private engine, given their graph.

    Images of another engine or of several platforms cannot be measured: they are named and left out.

    Raises:
        CommandFailedError: the engine has no such image.
    """
    request = part.request
    if len(request.platforms) > 1:
        say("Budgets were NOT CHECKED: images of several platforms are only measured in a build of one platform.")
        return ()
    images = (image for image in graph.images if image.image in request.images and image.request.stage is request.stage)
    measured = (_measure(part, image, docker, graph.targets) for image in images)
    return tuple(filter(None, measured))


def _measure(part: BuildPart, planned: PlannedImage, docker: Docker, targets: Targets) -> SizedImage | None:
    (request, facts), image, name = part, planned.image, planned.tag
    stored = _stored(request.catalogue.folder, name, process.capture(_inspect(docker, name)))
    if stored is None:
        say(f"The budget of {name} was NOT CHECKED: only the private engine shows the sizes of compressed layers.")
        return None
    if image.install_from is InstallFrom.IMAGE:
        say(f"The budget of {name} was NOT CHECKED: the history of a published engine image does not match its layers.")
        return None
    chain = package_targets(targets, planned.target)
    size = _size(request.catalogue.folder, docker, stored, [name for name, _ in chain])
    packages = [name for name, folder in chain if folder == PACKAGES]
    bump = sizes_manifest.above(size, packages[-1]) if packages else None
    backends = tuple(
        other_backend(request, facts, other, stored.origin, docker) for other in shared_layers.others(request, image)
    )
    numbers = budget.numbers(size, bump=bump, second=shared_layers.to_pull(size, backends))
    return SizedImage(
        name=key(request, image), image=image, stored=stored, size=size, numbers=numbers, backends=backends
    )


def size_of(folder: Path, docker: Docker, name: str, targets: Sequence[str]) -> tuple[str, ImageSize] | None:
    """Return the digest and the size of the image with a tag; None where the engine is not the private one.

    Raises:
        CommandFailedError: the engine has no such image.
    """
    stored = _stored(folder, name, process.capture(_inspect(docker, name)))
    return (stored.digest, _size(folder, docker, stored, targets)) if stored else None


def cached_size(image: PlannedImage, digests: Mapping[str, str]) -> ImageSize | None:
    """Return the size of an image that was measured before; None where it was not."""
    return size_cache.recall(image.request.catalogue.folder, digests.get(image.target, ""))


def planned_size(image: PlannedImage, graph: BakeGraph, docker: Docker, digests: Mapping[str, str]) -> ImageSize | None:
    """Return the size of an image that was built; None where it cannot be measured. It is measured once."""
    if cached := cached_size(image, digests):
        return cached
    folder = image.request.catalogue.folder
    if len(image.request.platforms) > 1 or image.image.install_from is InstallFrom.IMAGE:
        return None
    try:
        sized = size_of(folder, docker, image.tag, [name for name, _ in package_targets(graph.targets, image.target)])
    except CommandFailedError:
        return None
    return sized[1] if sized else None


def _size(folder: Path, docker: Docker, stored: StoredImage, targets: Sequence[str]) -> ImageSize:
    cached = size_cache.recall(folder, stored.digest)
    if cached:
        return cached
    size = sizes_manifest.measured(stored.manifest, stored.contents, history(docker, stored.tag), targets)
    size_cache.remember(folder, stored.digest, size)
    return size


def key(request: Request, image: Image) -> str:
    """Return the key of the sizes of an image, which builds and accepted sizes have in common."""
    architectures = "-".join(platform.arch for platform in request.platforms)
    return f"{image.name}-{request.stage.value}-{request.bases.name}-{architectures}"


def _inspect(docker: Docker, name: str) -> process.Command:
    return process.Command(argv=("docker", "image", "inspect", "--format={{json .}}", name), env=docker.environment)


def _stored(folder: Path, name: str, inspected: str) -> StoredImage | None:
    """Return an image, given the output of `docker image inspect`; None where the engine is not the private one."""
    image = file_reader.parse_json(inspected or "{}")
    blob = folder / state.ENGINE_DATA / BLOBS / image.get("Id", "").removeprefix("sha256:")
    manifest = file_reader.cached_json(blob)
    if not isinstance(manifest, dict) or "layers" not in manifest:
        return None
    labels = image["Config"].get("Labels") or {}
    origin = Origin(lock=labels.get("ai.dynamo.lock", ""), drift=labels.get("ai.dynamo.drift", ""))
    contents = tuple(image["RootFS"]["Layers"])
    return StoredImage(tag=name, digest=image["Id"], manifest=manifest, contents=contents, origin=origin)


def history(docker: Docker, name: str) -> tuple[tuple[int, str], ...]:
    """Return (bytes, created by) of every line of an image's history, from the lowest on.

    Raises:
        CommandFailedError: the engine has no such image.
    """
    argv = ("docker", "history", "--no-trunc", "--human=false", "--format={{json .}}", name)
    rows = [
        file_reader.parse_json(line)
        for line in process.capture(process.Command(argv=argv, env=docker.environment)).splitlines()
    ]
    return tuple((int(row["Size"]), row["CreatedBy"]) for row in reversed(rows))


def other_backend(request: Request, facts: BuildInputs, other: Image, pulled: Origin, docker: Docker) -> OtherBackend:
    """Return another image with its layers; `pulled` has the inputs of the image that is pulled."""
    folder, other_request = request.catalogue.folder, replace(request, images=(other,))
    try:
        lock = inputs.offline_build_inputs(other_request).locks[other.name]
    except LockError as error:
        return OtherBackend(name=other.name, source=str(error).splitlines()[0])
    name = tag(other, request.stage, request.bases, request.platforms, facts.version)
    answer = process.query(_inspect(docker, name), seconds=SECONDS)
    stored = _stored(folder, name, answer.stdout) if answer.returncode == 0 else None
    return shared_layers.other_backend(
        other.name,
        Origin(lock=f"sha256:{lock}", drift=pulled.drift),
        (stored.origin, stored.digests) if stored else None,
        accepted_sizes.read(folder).get(key(other_request, other), Accepted()),
    )


def contents(request: Request, image: SizedImage, docker: Docker) -> dict[str, int]:
    """Return the uncompressed bytes of the packages and files of an image: the result of `image_contents.folded`.

    Raises:
        CommandFailedError: the image's Python cannot run, for example without emulation.
    """
    say(f"Counting the packages and files of {image.stored.tag}")
    interpreter = request.bases.interpreter_of(root_role(request.stage))
    argv = (
        *("docker", "run", "--rm", "--pull=never", "--network=none", "--user=0:0"),
        *(f"--platform={request.platforms[0].value}", f"--volume={INSIDE}:{MOUNTED}:ro"),
        *(f"--entrypoint={interpreter}", image.stored.tag, "-I", "-B", MOUNTED),
    )
    return image_contents.folded(
        file_reader.parse_json(process.capture(process.Command(argv=argv, env=docker.environment)))
    )


def say(line: str) -> None:
    """Print a line on standard error."""
    progress.say(line)
