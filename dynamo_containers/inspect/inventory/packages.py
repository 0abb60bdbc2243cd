"""Python packages of locks as components, with the parts that are inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_containers.facts.locks import contents, download_sizes, python_lock, requirements
from dynamo_containers.inspect.inventory import components
from dynamo_containers.inspect.inventory.components import ComponentKind, InventoryComponent
from dynamo_containers.plan.layer_split import layer_of, split_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.contents import Contents, ListedComponent
    from dynamo_containers.facts.locks.requirements import LockedPackage

NAMED = 3
"""Files that a note names before it counts the rest."""


class LockFacts:
    """Facts that the inventories of all images have in common; each file is read once."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Read them.

        Raises:
            LockError: a file is damaged.
        """
        self.catalogue = catalogue
        self.contents: Contents | None = contents.read(catalogue.folder)
        self.sizes = download_sizes.read(catalogue.folder)
        self.locks = {lock.path: lock for lock in python_lock.locks(catalogue)}
        self._sboms: dict[str, tuple[ListedComponent, ...]] = {}

    def sbom(self, name: str) -> tuple[ListedComponent, ...]:
        """Return the components of an SBOM."""
        if name not in self._sboms:
            self._sboms[name] = contents.read_sbom(self.catalogue.folder, name)
        return self._sboms[name]

    def text(self, path: str) -> str:
        """Return the text of a lock."""
        return requirements.read_file(self.catalogue.folder, path)

    def layer(self, path: str, package: str) -> str:
        """Return the target of the build graph that has a package of a lock."""
        split = split_for(self.catalogue, self.locks[path].layer)
        return f"{split.layer}-{layer_of(package, split.patterns)}" if split.patterns else split.layer


class PackageReader:
    """Reader of the packages of one image; it remembers the files whose content is not known."""

    def __init__(self, facts: LockFacts) -> None:
        """Start without a file."""
        self._facts = facts
        self._unread: dict[str, None] = {}

    def lock(self, path: str, text: str, layer: str = "") -> Iterator[InventoryComponent]:
        """Yield the packages of a lock, or of the part of its text that is one layer; '': each in its own layer."""
        for package in requirements.read(text, path):
            yield from self.package(package, path, layer or self._facts.layer(path, package.name))

    def package(self, package: LockedPackage, path: str, layer: str) -> Iterator[InventoryComponent]:
        """Yield a package of a lock, and its parts."""
        facts = self._facts
        target = contents.target_name(facts.locks[path].target)
        file = facts.contents.of(target, package.name, package.version) if facts.contents else None
        component = InventoryComponent(
            kind=ComponentKind.PYTHON,
            name=package.name,
            version=package.version,
            purl=components.python_purl(package.name, package.version),
            layer=layer,
            origin=path,
            license=file.license if file else "",
            license_text=file.license_text if file else "",
            sha256=file.sha256 if file else "",
            size=facts.sizes.get(download_sizes.lock_name(path), {}).get(package.pin),
        )
        yield from self.with_parts(component, target, package.pin)

    def with_parts(self, component: InventoryComponent, target: str, file_name: str) -> Iterator[InventoryComponent]:
        """Yield a component and its parts.

        Args:
            component: the component.
            target: the target that downloads it, as contents/files.jsonl names it.
            file_name: what a note calls it where its content is not known.
        """
        yield component
        file = self._facts.contents.of(target, component.name, component.version) if self._facts.contents else None
        if file is None:
            self._unread[file_name] = None
        elif file.sbom:
            for line in self._facts.sbom(file.sbom):
                yield components.part((line.purl, line.license), component)

    def notes(self) -> Iterator[str]:
        """Yield what is inside packages and in no list; call it when all packages were read."""
        if self._unread:
            names = [*self._unread]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            shown = f"{', '.join(names[:NAMED])}{more}"
            yield f"Not listed: what is inside {shown}, which was never read. Read it with: {contents.COMMAND}"
