"""`invoke affected`: which images a vulnerability affects, in which commits of the locks, and what a fix would move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import (
    CheckFailedError,
    CommandFailedError,
    LockError,
    UnreachableError,
    UsageError,
    unknown_name,
)
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.inspect.explain import human
from dynamo_containers.inspect.inventory import advisory_file, history, image, vulnerable
from dynamo_containers.inspect.inventory.components import ComponentKind
from dynamo_containers.inspect.inventory.history import LockedPeriod  # noqa: TC001 - msgspec reads the types
from dynamo_containers.inspect.inventory.versions import UnknownVersionError
from dynamo_containers.platforms import Platform, parse_platforms
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dynamo_containers.facts.catalogue import Catalogue, Image
    from dynamo_containers.inspect.inventory.image import LayeredInventory
    from dynamo_containers.inspect.inventory.vulnerable import Match, Vulnerability

NAMED = 3
"""Notes of a kind that are printed before the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class AffectedComponent:
    """A vulnerable component of an image."""

    name: str
    version: str
    purl: str
    layer: str
    origin: str
    """The file that pins it."""
    fix: str
    """First fixed version; '' where none is stated."""
    moves: str
    """What must move for it: the component itself, or the package that has it inside, as NAME==VERSION."""


@dataclass(frozen=True, kw_only=True)
class AffectedImage:
    """An image that has vulnerable components, on one platform."""

    image: str
    stage: str
    bases: str
    platform: str
    components: tuple[AffectedComponent, ...]
    layers: tuple[str, ...]
    """Layers that a fix would change; all of them where a package of the root image or of its archives moves, because
    then the time of every file moves too."""
    pull: int
    """Bytes of the downloads that are in these layers: what pulling the fixed image costs, about."""
    unknown_sizes: int
    """Packages in these layers whose size no lock states."""


@dataclass(frozen=True, kw_only=True)
class Affected:
    """Result of `invoke affected`."""

    subject: str
    """The requirement, or the id and the summary of the advisory."""
    images: tuple[AffectedImage, ...]
    history: tuple[LockedPeriod, ...]
    """When locks had an affected version, or a package that has one inside."""
    checked: int
    """How many images were looked at, each platform and bases for itself."""
    notes: tuple[str, ...]
    """What was not looked at, and why."""
    complete: bool
    """Whether everything that an image with locks has was looked at."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which images are looked at; an empty option selects all."""

    images: Sequence[str] = ()
    platforms: Sequence[str] = ()
    bases: Sequence[str] = ()
    stage: str = ""


def affected(catalogue: Catalogue, subject: str, advisory: str, scope: Scope) -> Result:
    """Return which images a requirement or an advisory affects.

    The exit code is 1 where the locks of the checkout are affected, 10 where they are not as far as known and something
    could not be looked at, else 0.

    Raises:
        UsageError: a name is unknown, or the file is not an advisory.
        LockError: a lock is damaged.
    """
    vulnerability = _vulnerability(subject, advisory)
    inventories, notes = _inventories(catalogue, scope)
    try:
        found = [(row, tuple(vulnerable.matches(row.inventory.components, vulnerability))) for row in inventories]
    except UnknownVersionError as error:
        message = f"{vulnerability.title}: {error} is a version that cannot be compared, so nothing can be said."
        raise UsageError(message) from None
    gaps = tuple(dict.fromkeys(_gaps(vulnerability, inventories)))
    answer = Affected(
        subject=vulnerability.title,
        images=tuple(_affected_image(row, matches) for row, matches in found if matches),
        history=_history(catalogue.folder, vulnerability, inventories),
        checked=len(inventories),
        notes=(*vulnerability.notes, *notes, *gaps),
        complete=not gaps,
    )
    exit_code = CheckFailedError.exit_code if answer.images else 0 if answer.complete else UnreachableError.exit_code
    return Result(text=text(answer), data=answer, exit_code=exit_code)


def _vulnerability(subject: str, advisory: str) -> Vulnerability:
    if advisory:
        path = Path(advisory)
        return vulnerable.advisory(advisory_file.find(path, subject), str(path))
    if vulnerable.is_advisory_id(subject):
        message = (
            f"{subject} is the id of an advisory.\nName the file with it: invoke affected {subject} --advisory FILE"
        )
        raise UsageError(message)
    return vulnerable.requirement(subject)


def _inventories(catalogue: Catalogue, scope: Scope) -> tuple[tuple[LayeredInventory, ...], tuple[str, ...]]:
    """Return the inventories of the images of a scope, and a note about those that cannot be built."""
    reader, rows = image.LockReader(catalogue), []
    unlocked: dict[tuple[str, str], list[str]] = {}
    for name, stage, bases, platform in _selected(catalogue, scope):
        try:
            rows.append(reader.read(name, stage, bases, platform))
        except LockError as error:
            python = reader.read_python(name, stage, bases, platform)
            rows += [python] if python else []
            only = "only its Python packages were looked at" if python else "nothing of it was looked at"
            reason = str(error).partition("\n")[0].partition(". ")[0].removesuffix(".")
            unlocked.setdefault((only, reason), []).append(f"{name} on {bases} for {platform.value}")
    notes = (
        f"Not built, because it was never locked completely; {only}: {', '.join(places)}.\n  {reason}."
        for (only, reason), places in unlocked.items()
    )
    return tuple(rows), tuple(notes)


def _selected(catalogue: Catalogue, scope: Scope) -> tuple[tuple[str, str, str, Platform], ...]:
    """Return (image, stage, bases, platform) of a scope.

    Raises:
        UsageError: a name is unknown, or no image is made of them.
    """
    stages = [stage.value for stage in Stage]
    given = (
        ("image", scope.images, [*catalogue.images]),
        ("bases", scope.bases, [*catalogue.bases]),
        ("stage", [scope.stage] if scope.stage else [], stages),
    )
    for option, names, choices in given:
        for name in names:
            if name not in choices:
                raise unknown_name(option, name, choices)
    platforms = parse_platforms(scope.platforms) if scope.platforms else tuple(Platform)
    selected = tuple(
        (row.name, _stage(row, scope.stage), bases, platform)
        for row in catalogue.images.values()
        if (not scope.images or row.name in scope.images) and _stage(row, scope.stage)
        for bases in row.bases
        for platform in row.platforms
        if (not scope.bases or bases in scope.bases) and platform in platforms
    )
    if not selected:
        message = "No image is made of these, so there is nothing to look at."
        raise UsageError(message)
    return selected


def _stage(row: Image, name: str) -> str:
    """Return the stage of an image that is looked at; '' for none."""
    stages = [stage.value for stage in row.stages]
    if name:
        return name if name in stages else ""
    return Stage.RUNTIME.value if Stage.RUNTIME.value in stages else stages[-1] if stages else ""


def _gaps(vulnerability: Vulnerability, inventories: Iterable[LayeredInventory]) -> Iterator[str]:
    """Yield what of these images is in no lock and might be affected."""
    kinds = {package.kind for package in vulnerability.packages}
    for row in inventories:
        for note in row.inventory.notes:
            about_root = "root image" in note
            if about_root if kinds & {"deb", "rpm"} else not about_root and kinds - {"pypi"}:
                yield f"{row.inventory.image} on {row.inventory.bases}: {note}"


def _affected_image(row: LayeredInventory, matches: Iterable[Match]) -> AffectedImage:
    inventory = row.inventory
    packages = {component.purl: component for component in inventory.components if not component.inside}
    components = []
    for match in matches:
        holder = packages.get(match.component.inside, match.component)
        components.append(
            AffectedComponent(
                name=match.component.name,
                version=match.component.version,
                purl=match.component.purl,
                layer=match.component.layer,
                origin=match.component.origin,
                fix=match.fix,
                moves=f"{holder.name}=={holder.version}",
            )
        )
    moved = [packages.get(match.component.inside, match.component) for match in matches]
    # A new .deb moves the epoch, which is the time of every file.
    moves_epoch = any(component.kind in {ComponentKind.DEB, ComponentKind.ROOT_IMAGE} for component in moved)
    layers = row.layers if moves_epoch else row.changed_layers({component.layer for component in moved})
    pulled = [component for component in packages.values() if component.layer in layers]
    return AffectedImage(
        image=inventory.image,
        stage=inventory.stage,
        bases=inventory.bases,
        platform=inventory.platform,
        components=tuple(components),
        layers=layers,
        pull=sum(component.size or 0 for component in pulled),
        unknown_sizes=sum(component.size is None for component in pulled),
    )


def _history(
    folder: Path, vulnerability: Vulnerability, inventories: Iterable[LayeredInventory]
) -> tuple[LockedPeriod, ...]:
    """Return when locks had affected versions; of parts: when they had the packages that have them inside today."""
    direct = [package for package in vulnerability.packages if package.kind in {"pypi", "deb"}]
    holders = {
        (holder.name, holder.version)
        for row in inventories
        for match in vulnerable.matches(row.inventory.components, vulnerability)
        for holder in row.inventory.components
        if match.component.inside and holder.purl == match.component.inside
    }

    def is_affected(name: str, version: str) -> bool:
        try:
            is_direct = any(package.name == name and package.affects(version) for package in direct)
        except UnknownVersionError:
            return False
        return is_direct or (name, version) in holders

    names = {package.name for package in direct} | {name for name, _ in holders}
    names |= _binary_packages({package.name for package in direct if package.kind == "deb"}, inventories)
    if not names:
        return ()
    try:
        return history.periods(folder, names, is_affected)
    except CommandFailedError:  # an unpacked archive of this repository has no history
        return ()


def _binary_packages(sources: set[str], inventories: Iterable[LayeredInventory]) -> set[str]:
    return {
        component.name for row in inventories for component in row.inventory.components if component.source in sources
    }


def text(answer: Affected) -> str:
    """Return the answer for a person."""
    lines = [answer.subject, ""]
    if not answer.images:
        lines.append(f"Nothing is affected in the locks of this checkout ({answer.checked} images looked at).")
    for row in answer.images:
        lines += _image_lines(row)
    if answer.history:
        lines += ["", "In the history of the locks:", *_history_lines(answer.history)]
    lines += ["", *answer.notes] if answer.notes else []
    return "\n".join(lines)


def _image_lines(row: AffectedImage) -> Iterator[str]:
    yield f"{row.image}, {row.stage} stage, {row.bases}, {row.platform}"
    for component in row.components:
        fix = f"fixed in {component.fix}" if component.fix else "no fixed version is stated"
        inside = f" inside {component.moves}" if component.moves != f"{component.name}=={component.version}" else ""
        yield f"  {component.name} {component.version}{inside}, layer {component.layer} ({component.origin}): {fix}"
    unknown = f", plus {row.unknown_sizes} packages of unknown size" if row.unknown_sizes else ""
    moves = ", ".join(dict.fromkeys(component.moves for component in row.components))
    yield f"  A fix moves {moves} and changes {', '.join(row.layers)}: {human(row.pull)} to pull{unknown}."


def _history_lines(rows: Iterable[LockedPeriod]) -> Iterator[str]:
    for row in rows:
        until = f"{row.until[:9]} ({row.until_time[:10]})" if row.until else "today"
        yield f"  {row.lock}: {row.name} {row.version} from {row.since[:9]} ({row.since_time[:10]}) to {until}"
