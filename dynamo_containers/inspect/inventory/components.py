"""Components of an image: types, package URLs, and the table for a person; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote

from packageurl import PackageURL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.facts.locks.os_package import Package

DEFAULT_EPOCH = "0"
"""The epoch of an RPM that states none."""


class ComponentKind(StrEnum):
    """What a component is."""

    PYTHON = "python"
    """A wheel, or a package that is compiled from its source archive."""
    DEB = "deb"
    RPM = "rpm"
    BINARY = "binary"
    """Out of a release archive."""
    PART = "part"
    """Inside one of the others: compiled into it, or copied into it."""
    ROOT_IMAGE = "root-image"
    """Of a registry; its own packages are in no lock."""


@dataclass(frozen=True, kw_only=True)
class InventoryComponent:
    """Something that is in an image."""

    kind: ComponentKind
    name: str
    version: str
    purl: str
    """Package URL (https://github.com/package-url/purl-spec)."""
    layer: str
    """The target of the build graph whose layers have it."""
    origin: str
    """The file that pins it."""
    license: str = ""
    """SPDX expression; '' where nothing states it."""
    license_text: str = ""
    """What its metadata says in place of an SPDX expression."""
    sha256: str = ""
    """Of the file that is downloaded; '' for a part, and where a lock allows several files."""
    source: str = ""
    """Source package of a .deb: advisories of distributions are about these."""
    inside: str = ""
    """Package URL of the component that has this part; '' for none."""
    size: int | None = None
    """Bytes of its download; null where no lock states it, and of a part."""


@dataclass(frozen=True, kw_only=True)
class ImageInventory:
    """What is in an image on one platform."""

    image: str
    stage: str
    bases: str
    platform: str
    repository: str
    """Name of the image."""
    version: str
    tag: str
    epoch: int
    """The time of its newest pin, in seconds since 1970."""
    components: tuple[InventoryComponent, ...]
    notes: tuple[str, ...]
    """What is in the image and not in this list, because no lock states it."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Result of `invoke inventory`."""

    images: tuple[ImageInventory, ...]
    """One per platform."""


def python_purl(name: str, version: str) -> str:
    """Return the package URL of a Python package."""
    return PackageURL("pypi", None, name.lower().replace("_", "-"), version).to_string()


def os_purl(package: Package, suite: str) -> str:
    """Return the package URL of a .deb or an RPM, from its line in a lock.

    Args:
        package: the line.
        suite: the suite of its root image, such as `bookworm`; '' for RPMs.
    """
    if package.path.endswith(".rpm"):
        epoch, _, version = package.version.rpartition(":")
        qualifiers = {"arch": package.architecture, **({"epoch": epoch} if epoch not in {"", DEFAULT_EPOCH} else {})}
        return PackageURL("rpm", "almalinux", package.name, version, qualifiers).to_string()
    return deb_purl(package, suite)


def deb_purl(package: Package, suite: str) -> str:
    """Return the package URL of a .deb; `upstream` is its source package, as syft has it."""
    vendor = "ubuntu" if package.archive.startswith("ubuntu") else "debian"
    source = source_package(package.path)
    qualifiers = {"arch": package.architecture, "distro": suite, "upstream": source if source != package.name else ""}
    present = {key: value for key, value in qualifiers.items() if value}
    return PackageURL("deb", vendor, package.name, package.version, present).to_string()


def source_package(path: str) -> str:
    """Return the source package of a .deb: in a pool, its folder is named by it (`pool/main/u/util-linux/…`)."""
    parts = path.split("/")
    return parts[-2] if "pool" in parts[:-1] and len(parts) > 2 else ""  # noqa: PLR2004 - folder and file


def binary_purl(name: str, version: str, url: str) -> str:
    """Return the package URL of a binary out of a release archive; one on GitHub is named by its repository."""
    host, *path = url.partition("://")[2].split("/")
    if host == "github.com" and len(path) > 2:  # noqa: PLR2004 - owner, name, and a file
        return PackageURL("github", path[0].lower(), path[1].lower(), f"v{version}", None, name).to_string()
    return PackageURL("generic", None, name, version, {"download_url": url}).to_string()


def root_image_purl(reference: str) -> tuple[str, str, str]:
    """Return the name, the digest and the package URL of a root image: HOST/PATH[:TAG]@DIGEST."""
    address, _, digest = reference.partition("@")
    repository, _, tag = address.rpartition(":") if ":" in address.rpartition("/")[2] else (address, "", "")
    name = repository.rpartition("/")[2]
    qualifiers = {"repository_url": repository, **({"tag": tag} if tag else {})}
    return name, digest, PackageURL("oci", None, name, digest, qualifiers).to_string()


def part(line: tuple[str, str], container: InventoryComponent) -> InventoryComponent:
    """Return a part of a component, from a line of its SBOM: package URL and licence."""
    purl, license_name = line
    name, version = purl_name(purl)
    return InventoryComponent(
        kind=ComponentKind.PART,
        name=name,
        version=version,
        purl=purl,
        layer=container.layer,
        origin=container.origin,
        license=license_name,
        inside=container.purl,
    )


def purl_name(purl: str) -> tuple[str, str]:
    """Return the name and the version of a normal package URL, 50 times as fast as a parser that also checks it.

    Go modules, npm scopes and Maven groups are named with their namespace; a distribution is no part of a name.
    """
    path = purl.removeprefix("pkg:").partition("?")[0].partition("#")[0]
    kind, _, rest = path.partition("/")
    at = rest.rfind("@")
    name, version = (rest[:at], rest[at + 1 :]) if at > rest.rfind("/") else (rest, "")
    if kind in {"deb", "rpm", "apk"}:
        name = name.rpartition("/")[2]
    return (unquote(name), unquote(version)) if "%" in rest else (name, version)


def text(inventory: ImageInventory) -> str:
    """Return the inventory of one image as a table: every component but the parts, which are counted."""
    parts = Counter(row.inside for row in inventory.components if row.inside)
    rows = [
        (
            row.kind.value,
            row.name,
            row.version,
            row.license or row.license_text or "-",
            row.layer,
            _parts(parts[row.purl]),
        )
        for row in inventory.components
        if not row.inside
    ]
    head = ("kind", "name", "version", "licence", "layer", "with")
    title = f"{inventory.image}, {inventory.stage} stage, {inventory.platform}: {inventory.tag}"
    return "\n".join([title, "", *_table([head, *rows]), "", summary(inventory), *inventory.notes])


def _parts(count: int) -> str:
    return f"{count} part{'s' if count > 1 else ''}" if count else ""


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    shown = [tuple(cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 1]}…" for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


WIDEST = 42
"""Characters of a cell of the table."""


def summary(inventory: ImageInventory) -> str:
    """Return how many components of each kind there are."""
    counts = Counter(row.kind for row in inventory.components)
    names = {
        ComponentKind.PYTHON: "Python packages",
        ComponentKind.DEB: ".debs",
        ComponentKind.RPM: "RPMs",
        ComponentKind.BINARY: "binaries",
        ComponentKind.PART: "parts (crates, modules, bundled libraries)",
        ComponentKind.ROOT_IMAGE: "root image",
    }
    return ", ".join(f"{counts[kind]} {name}" for kind, name in names.items() if counts[kind]) + "."


def by_purl(components: Iterable[InventoryComponent]) -> dict[str, list[InventoryComponent]]:
    """Return package URL -> the components that have it: a crate may be in several wheels."""
    rows: dict[str, list[InventoryComponent]] = {}
    for component in components:
        rows.setdefault(component.purl, []).append(component)
    return rows
