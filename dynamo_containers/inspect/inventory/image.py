"""`invoke inventory`: what is in an image, read from its locks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers.errors import UsageError, unknown_name
from dynamo_containers.facts import image_reference
from dynamo_containers.facts.catalogue import Stage
from dynamo_containers.facts.locks import contents, os_lock, requirements
from dynamo_containers.facts.locks.os_lock import OsLock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.pins import PINS_FILE, PackagePin
from dynamo_containers.inspect import explain
from dynamo_containers.inspect.inventory import components, cyclonedx, spdx
from dynamo_containers.inspect.inventory.components import ComponentKind, ImageInventory, Inventory, InventoryComponent
from dynamo_containers.inspect.inventory.packages import LockFacts, PackageReader
from dynamo_containers.plan import bake, container
from dynamo_containers.plan.labels import root_role
from dynamo_containers.plan.layer_split import compiled_layer
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import BuildPart, request_for
from dynamo_containers.prepare import inputs, layer_pins
from dynamo_containers.prepare.input_digests import Digests, package_set
from dynamo_containers.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs, Request
    from dynamo_containers.plan.target import Target
    from dynamo_containers.platforms import Platform

DYNAMO = ("ai-dynamo", "ai-dynamo-runtime")
"""The packages of the base lock that containers/dynamo installs, besides NIXL where its image has torch."""
NIXL = "nixl"
NIXL_LIBRARIES = "nixl-cu"
"""Start of the name of the wheel with NIXL's libraries, which containers/frontend unpacks."""
ROOT_IMAGE = "root image"
"""The name of the layers of a root image."""
NAMED = 3
"""Files that a note names before it counts the rest."""


class Format(StrEnum):
    """A form of the inventory."""

    TABLE = "table"
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


def inventory(  # noqa: PLR0913, PLR0917 - one for each flag
    catalogue: Catalogue,
    image: str,
    stage: str = "",
    platforms: Sequence[str] = (),
    bases: str = "debian",
    form: str = "table",
) -> Result:
    """Return what is in an image, for each of the platforms; an SBOM is of one platform.

    Raises:
        UsageError: a name is unknown, or an SBOM of several platforms is asked for.
        LockError: a lock or a pin that it needs is missing or stale.
    """
    if form not in list(Format):
        kind = "format"
        raise unknown_name(kind, form, list(Format))
    reader = LockReader(catalogue)
    images = tuple(
        reader.read_request(request).inventory for request in requests(catalogue, image, stage, platforms, bases)
    )
    if form == Format.TABLE:
        return Result(text="\n\n".join(map(components.text, images)), data=Inventory(images=images))
    if len(images) != 1:
        message = f"An SBOM is of one platform, and these are {len(images)}.\nName one with: --platform"
        raise UsageError(message)
    document = cyclonedx.document(images[0])
    if form == Format.SPDX:
        document = spdx.document(document)
    return Result(text=Result(text="", data=document).json(), data=document)


def requests(catalogue: Catalogue, image: str, stage: str, platforms: Sequence[str], bases: str) -> tuple[Request, ...]:
    """Return one request per platform, for a stage or ('') for the runtime stage, or the highest that there is."""
    stages = container.stages_of(catalogue, image, stage)
    chosen = Stage.RUNTIME if Stage.RUNTIME in stages else stages[-1]
    request = request_for(catalogue, chosen, ImageSelection(images=[image], platforms=platforms, bases=bases))
    # One platform at a time, as in explain: what is compiled may differ.
    return tuple(
        request_for(catalogue, chosen, ImageSelection(images=[image], platforms=[platform.value], bases=bases))
        for platform in request.platforms
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where components are."""

    layer: str
    origin: str


@dataclass(frozen=True, kw_only=True)
class LayeredInventory:
    """An inventory, and how the layers of its image depend on each other."""

    inventory: ImageInventory
    layers: tuple[str, ...]
    """Its layers, from the root image on."""
    relocatable: frozenset[str]
    """Those whose bytes do not depend on the layers below (COPY --link)."""

    def changed_layers(self, moved: Collection[str]) -> tuple[str, ...]:
        """Return the layers that change when packages of some layers move."""
        changed: list[str] = []
        for layer in self.layers:
            if layer in moved or (changed and layer not in self.relocatable):
                changed.append(layer)
        return tuple(changed)


class LockReader:
    """Reader of the locks of images; files that several images have in common are read once."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Read what all images have in common."""
        self.catalogue = catalogue
        self._facts, self._digests = LockFacts(catalogue), Digests()

    def read(self, image: str, stage: str, bases: str, platform: Platform) -> LayeredInventory:
        """Return the inventory of an image.

        Raises:
            LockError: a lock or a pin that it needs is missing or stale.
        """
        selection = ImageSelection(images=[image], platforms=[platform.value], bases=bases)
        return self.read_request(request_for(self.catalogue, Stage(stage), selection))

    def read_request(self, request: Request) -> LayeredInventory:
        """Return the inventory of the one image of a request, on its one platform; same errors."""
        facts, (platform,), (row,) = inputs.offline_build_inputs(request), request.platforms, request.images
        plan = bake.build_plan(BuildPart(request, facts))
        (top,), targets = plan.graph.images, plan.graph.targets
        dockerfiles = {name: self._digests.summary(target.folder) for name, target in targets.items()}
        layers = explain.chain(targets, dockerfiles, top.target)
        reader = _ImageReader(self._facts, request, facts)
        components = tuple(reader.components({name: targets[name] for name in layers}))
        found = ImageInventory(
            image=row.name,
            stage=request.stage.value,
            bases=request.bases.name,
            platform=platform.value,
            repository=row.repository,
            version=facts.version,
            tag=bake.tag(row, request.stage, request.bases, request.platforms, facts.version),
            epoch=request.catalogue.pins.epoch,
            components=components,
            notes=tuple(reader.notes()),
        )
        relocatable = frozenset(name for name in layers if dockerfiles[name].relocatable)
        return LayeredInventory(inventory=found, layers=(ROOT_IMAGE, *layers), relocatable=relocatable)

    def read_python(self, image: str, stage: str, bases: str, platform: Platform) -> LayeredInventory | None:
        """Return the Python packages of an image that cannot be built yet; None where one of its locks is missing."""
        row = self.catalogue.images[image]
        below = [name for name, other in self.catalogue.images.items() if Stage.BASE in other.stages]
        names = dict.fromkeys((*below, *([row.common_layer] if row.common_layer else []), row.name))
        paths = [f"constraints/{name}-{bases}-{platform.arch}.txt" for name in names]
        texts = requirements.read_files_if_there(self.catalogue.folder, paths)
        if len(texts) != len(paths) or not self._facts.locks.keys() >= texts.keys():
            return None
        reader = PackageReader(self._facts)
        components = tuple(component for path in paths for component in reader.lock(path, texts[path]))
        found = ImageInventory(
            image=image,
            stage=stage,
            bases=bases,
            platform=platform.value,
            repository=row.repository,
            version="",
            tag="",
            epoch=0,
            components=components,
            notes=tuple(reader.notes()),
        )
        layers = tuple(dict.fromkeys(component.layer for component in components))
        return LayeredInventory(inventory=found, layers=layers, relocatable=frozenset(layers))


class _ImageReader:
    """Reader of the locks of one image on one platform."""

    def __init__(self, facts: LockFacts, request: Request, build_inputs: BuildInputs) -> None:
        self._facts, self._request, self._inputs = facts, request, build_inputs
        (self._platform,) = request.platforms
        self._folder = request.catalogue.folder
        self._packages = PackageReader(facts)
        self._notes: list[str] = []

    def components(self, layers: Mapping[str, Target]) -> Iterator[InventoryComponent]:
        """Yield the components, layer by layer from the root image on; parts follow what has them.

        Args:
            layers: the targets whose layers the image has, from the lowest on.
        """
        yield from self._root_image()
        for name, target in layers.items():
            yield from self._target(name, target)

    def notes(self) -> Iterator[str]:
        """Yield what is in the image and in no list; call it after `components`."""
        yield from self._notes
        yield from self._packages.notes()

    def _target(self, name: str, target: Target) -> Iterable[InventoryComponent]:
        readers: dict[str, Callable[[str, Target], Iterable[InventoryComponent]]] = {
            "builder": self._builder,
            "dynamo": self._dynamo,
            "fetched": self._package_layer,
            "frontend": self._frontend,
            "os": self._binaries,
            "os-packages": self._package_set,
            "os-rpms": self._package_set,
            "packages": self._package_layer,
            "wheels": self._compiled,
        }
        read = readers.get(target.folder.name)
        return read(name, target) if read else ()

    def _root_image(self) -> Iterator[InventoryComponent]:
        request, bases, role = self._request, self._request.bases, root_role(self._request.stage)
        if role not in bases.registry_roots:
            lock = OsLock(bases=bases, role=role, platform=self._platform)
            yield from self._os_packages(lock, ROOT_IMAGE)
            return
        reference = image_reference.root_context(request.catalogue.pins, bases, role, self._platform)
        name, digest, purl = components.root_image_purl(reference.partition("://")[2] or reference)
        self._notes.append(f"Not listed: the packages of the root image {name} ({digest}), which are in no lock.")
        yield InventoryComponent(
            kind=ComponentKind.ROOT_IMAGE,
            name=name,
            version=digest,
            purl=purl,
            layer=ROOT_IMAGE,
            origin=f"{PINS_FILE} (roots.{bases.name}.{role})",
        )

    def _os_packages(self, lock: OsLock, layer: str) -> Iterator[InventoryComponent]:
        for package in os_lock.read(lock, self._folder):
            yield _os_component(package, lock.root.suite, _Place(layer=layer, origin=lock.file))

    def _package_set(self, layer: str, target: Target) -> Iterator[InventoryComponent]:
        name = package_set(self._request.bases, target.contexts.get("debs") or target.contexts["rpms"])
        yield from self._os_packages(os_lock.lock_of(self._request.bases, name, self._platform), layer)

    def _binaries(self, layer: str, _: Target) -> Iterator[InventoryComponent]:
        bases, pins = self._request.bases, self._request.catalogue.pins
        for name, row in bases.programs.items():
            pin = pins.programs[bases.name, name, self._platform]
            place = _Place(layer=layer, origin=f"{PINS_FILE} (programs.{bases.name}.{name})")
            if isinstance(pin, PackagePin):
                # Debian's builds have no build information: the package says what they are, the suite where from.
                package = _package_of(pin)
                yield _os_component(package, getattr(row, "suite", ""), place)
                continue
            binary = InventoryComponent(
                kind=ComponentKind.BINARY,
                name=name,
                version=pin.version,
                purl=components.binary_purl(name, pin.version, pin.url),
                layer=place.layer,
                origin=place.origin,
                sha256=pin.sha256,
                size=pin.size or None,
            )
            target = contents.binary_target(bases.name, self._platform)
            yield from self._packages.with_parts(binary, target, pin.url.rpartition("/")[2])

    def _builder(self, layer: str, _: Target) -> Iterator[InventoryComponent]:
        path = f"constraints/builder-{self._request.bases.name}-{self._platform.arch}.txt"
        yield from self._packages.lock(path, self._facts.text(path), layer)

    def _package_layer(self, layer: str, target: Target) -> Iterator[InventoryComponent]:
        folder = Path(target.contexts["lock"])
        part = next(part for parts in self._inputs.package_layers.values() for part in parts if part.folder == folder)
        yield from self._packages.lock(self._lock_path(folder), layer_pins.read(part, self._platform), layer)

    def _lock_path(self, pins_folder: Path) -> str:
        layer = pins_folder.parent.name.rpartition(f"-{self._request.bases.name}-")[0]
        return f"constraints/{layer}-{self._request.bases.name}-{self._platform.arch}.txt"

    def _compiled(self, layer: str, _: Target) -> Iterator[InventoryComponent]:
        """Yield what the backend stage compiles from source archives, and this layer installs."""
        (image,) = self._request.images
        part = compiled_layer(self._inputs.package_layers[image.name])
        yield from self._packages.lock(self._lock_path(part.folder), layer_pins.read(part, self._platform), layer)

    def _dynamo(self, layer: str, target: Target) -> Iterator[InventoryComponent]:
        has_nixl = bool(target.args.get("NIXL", NIXL))
        yield from self._base(layer, lambda name: name in DYNAMO or (has_nixl and name.startswith(NIXL)))

    def _frontend(self, layer: str, _: Target) -> Iterator[InventoryComponent]:
        yield from self._base(layer, lambda name: name.startswith(NIXL_LIBRARIES))

    def _base(self, layer: str, is_installed: Callable[[str], bool]) -> Iterator[InventoryComponent]:
        """Yield packages that are copied from the base stage."""
        path = f"constraints/base-{self._request.bases.name}-{self._platform.arch}.txt"
        packages = requirements.read(self._facts.text(path), path)
        for package in packages:
            if is_installed(package.name):
                yield from self._packages.package(package, path, layer)


def _os_component(package: Package, suite: str, place: _Place) -> InventoryComponent:
    is_rpm = package.path.endswith(".rpm")
    return InventoryComponent(
        kind=ComponentKind.RPM if is_rpm else ComponentKind.DEB,
        name=package.name,
        version=package.version,
        purl=components.os_purl(package, suite),
        layer=place.layer,
        origin=place.origin,
        sha256=package.sha256,
        source="" if is_rpm else components.source_package(package.path) or package.name,
        size=package.size,
    )


def _package_of(pin: PackagePin) -> Package:
    """Return the .deb of a pin; its name and architecture are in its path."""
    name, _, rest = pin.path.rpartition("/")[2].partition("_")
    architecture = rest.removesuffix(".deb").rpartition("_")[2]
    return Package(
        name=name,
        version=pin.version,
        architecture=architecture,
        archive=pin.archive,
        path=pin.path,
        size=pin.size,
        sha256=pin.sha256,
    )
