"""Text of `invoke explain`: contents of an image, their origin, and what would be rebuilt."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec resolves the types of the fields
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamo_containers.plan.target import LINK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dynamo_containers.plan.dockerfile import Summary
    from dynamo_containers.plan.target import Target, Targets
    from dynamo_containers.prepare.input_digests import Inputs

LARGEST = 3
"""How many packages of a target are named."""
NAMED = 2
"""How many changed inputs of a target are named."""
UNCHANGED = "unchanged"
NEVER = "never built here"
REUSED = "unchanged: its layer is reused on changed layers below"


@dataclass(frozen=True, kw_only=True)
class PinnedPackage:
    """A package or binary that a target adds."""

    name: str
    version: str
    size: int | None
    """Bytes of its download; null where no lock and no index states it."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a target adds, and where that is pinned."""

    origin: str
    """The file that pins it, with the part of the file where it is not all of it."""
    packages: tuple[PinnedPackage, ...] = ()
    description: str = ""
    """What it is, where it has no packages."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Whether a target would be rebuilt."""

    rebuilt: bool
    """Whether a build would run it, as far as its inputs tell: it was never built here, or one of them changed."""
    reason: str
    """Why it would be rebuilt, or why not."""

    def __str__(self) -> str:
        """Return both in one line."""
        return f"would be rebuilt: {self.reason}" if self.rebuilt and self.reason != NEVER else self.reason


@dataclass(frozen=True, kw_only=True)
class ExplainedTarget:
    """A target of the build graph."""

    name: str
    content: Content
    state: State
    is_layer: bool
    """Whether its layers are in the image; otherwise a target with layers only copies from it or runs it."""


@dataclass(frozen=True, kw_only=True)
class ExplainedImage:
    """An image on one platform."""

    image: str
    stage: str
    bases: str
    platform: str
    tag: str
    root_image: Content
    """The image below all targets."""
    targets: tuple[ExplainedTarget, ...]
    """Those whose layers are in the image, from the lowest on; then the others."""
    download: int
    """Bytes that a build on a machine without any cache downloads, without `unknown_sizes`."""
    unknown_sizes: tuple[str, ...]
    """Packages whose size no lock and no index states."""
    notes: tuple[str, ...]
    """Which builder and caches this machine's configuration adds."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Answer of `invoke explain IMAGE`."""

    images: tuple[ExplainedImage, ...]
    """The image on each of the platforms."""


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """An image that can be built."""

    name: str
    title: str
    stages: tuple[str, ...]
    bases: tuple[str, ...]
    platforms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImageList:
    """Answer of `invoke explain` without an image."""

    images: tuple[ListedImage, ...]
    stages: Mapping[str, str]
    """Stage -> for whom it is."""


def states(
    targets: Targets,
    dockerfiles: Mapping[str, Summary],
    inputs: Mapping[str, Inputs],
    recorded: Mapping[str, Inputs],
) -> dict[str, State]:
    """Return target -> whether it would be rebuilt, and why.

    That is the most that can happen: a target whose result is the same bytes changes nothing above it.

    Args:
        targets: the targets of a bake document, in any order.
        dockerfiles: target -> summary of its Dockerfile.
        inputs: target -> its inputs.
        recorded: target -> its inputs at the last build here.
    """
    states: dict[str, State] = {}

    def state(name: str) -> State:
        if name not in states:
            needed = _links(targets[name])
            moved = {key for key, target in needed.items() if state(target).reason != UNCHANGED}
            states[name] = _state(inputs[name], recorded.get(name), moved, dockerfiles[name], needed)
        return states[name]

    return {name: state(name) for name in targets}


def _links(target: Target) -> dict[str, str]:
    """Return named context -> the target that it is."""
    return {name: value.removeprefix(LINK) for name, value in target.contexts.items() if value.startswith(LINK)}


def _state(
    inputs: Inputs, recorded: Inputs | None, moved: Collection[str], dockerfile: Summary, needed: Mapping[str, str]
) -> State:
    if recorded is None:
        return State(rebuilt=True, reason=NEVER)
    changed = [key for key in dict.fromkeys((*inputs, *recorded)) if inputs.get(key) != recorded.get(key)]
    if changed:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        return State(rebuilt=True, reason=f"{', '.join(changed[:NAMED])}{more} changed")
    if not moved:
        return State(rebuilt=False, reason=UNCHANGED)
    if dockerfile.relocatable and moved == {dockerfile.based_on}:
        return State(rebuilt=False, reason=REUSED)
    return State(rebuilt=True, reason=f"{', '.join(needed[key] for key in needed if key in moved)} below changed")


def chain(targets: Targets, dockerfiles: Mapping[str, Summary], top: str) -> tuple[str, ...]:
    """Return the targets whose layers are in an image, from the lowest on; `top` is the highest."""
    names = [top]
    while base := _links(targets[names[-1]]).get(dockerfiles[names[-1]].based_on):
        names.append(base)
    return tuple(reversed(names))


def text(image: ExplainedImage) -> str:
    """Return the explanation of one image on one platform."""
    layers = [line for target in image.targets if target.is_layer for line in _target_rows(target)]
    others = [line for target in image.targets if not target.is_layer for line in _target_rows(target)]
    title = f"{image.image}, {image.stage} stage, {image.platform}: {image.tag}"
    rows = [*_rows("root image", image.root_image, ""), *layers]
    rows += ["", "Not in the image, but needed to build it:", *others] if others else []
    return "\n".join([title, "", *rows, "", _total(image), *image.notes])


def _target_rows(target: ExplainedTarget) -> list[str]:
    return _rows(target.name, target.content, str(target.state))


def _rows(name: str, content: Content, state: str) -> list[str]:
    size = _size(content.packages) if content.packages else ""
    return [
        f"  {name:<22} {size:>10}  {_summary(content)}",
        f"  {'':<22} {'':>10}  from {content.origin}",
        *([f"  {'':<22} {'':>10}  {state}"] if state else []),
    ]


def _summary(content: Content) -> str:
    if not content.packages:
        return content.description
    largest = sorted(content.packages, key=lambda package: (-(package.size or 0), package.name))[:LARGEST]
    shown = ", ".join(f"{package.name} {package.version}{_sized(package)}" for package in largest)
    count = len(content.packages)
    return shown if count <= LARGEST else f"{count} packages, the largest: {shown}"


def _sized(package: PinnedPackage) -> str:
    return "" if package.size is None else f" ({human(package.size)})"


def _size(packages: Iterable[PinnedPackage]) -> str:
    sizes = [package.size for package in packages]
    total = human(sum(size for size in sizes if size is not None))
    return f">={total}" if None in sizes else total


def downloads(contents: Iterable[Content]) -> tuple[int, tuple[str, ...]]:
    """Return the bytes that some contents download, each package once, and the packages of unknown size."""
    packages = dict.fromkeys(package for content in contents for package in content.packages)
    unknown = sorted({package.name for package in packages if package.size is None})
    return sum(package.size or 0 for package in packages), tuple(unknown)


def _total(image: ExplainedImage) -> str:
    unknown = f", plus {', '.join(image.unknown_sizes)} (size unknown)" if image.unknown_sizes else ""
    return f"A build without any cache downloads {human(image.download)}{unknown}."


def human(size: int) -> str:
    """Return a number of bytes for people, in powers of 1000."""
    if size >= 10**9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 10**5 else f"{size / 1e3:.1f} kB"


def list_text(images: ImageList) -> str:
    """Return the list of images: one line each, and for whom each stage is."""
    width = max(len(image.name) for image in images.images)
    rows = [
        f"  {image.name:<{width}}  {', '.join(image.stages) or 'no stage yet':<26}  {image.title}"
        for image in images.images
    ]
    stages = [f"  {stage:<8} {purpose}" for stage, purpose in images.stages.items()]
    return "\n".join(["Images (containers/images.toml):", *rows, "", "For whom a stage is:", *stages])
