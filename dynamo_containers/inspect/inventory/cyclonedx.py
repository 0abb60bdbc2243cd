"""CycloneDX 1.6 document of an inventory; pure, and the same bytes from the same locks.

cyclonedx-python-lib takes 4 s to make a document of 1,300 components, and its import a third of a second, so the
document is made here, and a test validates it by that library's schema (docs/adr/0041).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from dynamo_containers.inspect.inventory.components import ComponentKind, by_purl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamo_containers.inspect.inventory.components import ImageInventory, InventoryComponent

TYPES = {ComponentKind.BINARY: "application", ComponentKind.ROOT_IMAGE: "container"}
"""Kind -> type of component; the others are libraries."""
PROPERTY = "ai.dynamo:"
"""Start of the names of our properties."""


def document(inventory: ImageInventory) -> dict[str, Any]:
    """Return the document, whose serial number follows from its content."""
    grouped = by_purl(inventory.components)
    subject = f"{inventory.repository}:{inventory.tag.rpartition(':')[2]}"
    content = {
        "metadata": {
            "timestamp": datetime.fromtimestamp(inventory.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "dynamo-containers"}]},
            "component": _subject(inventory, subject),
        },
        "components": [_component(rows) for _, rows in sorted(grouped.items())],
        "dependencies": _dependencies(inventory, subject),
        "compositions": [
            {"aggregate": "incomplete" if inventory.notes else "complete", "assemblies": [subject]},
        ],
    }
    digest = hashlib.sha256(msgspec.json.encode(content)).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, digest)}",
        "version": 1,
        **content,
    }


def _subject(inventory: ImageInventory, reference: str) -> dict[str, Any]:
    values = {"image": inventory.image, "stage": inventory.stage, "bases": inventory.bases}
    notes = [("not-listed", note) for note in inventory.notes]
    return {
        "type": "container",
        "bom-ref": reference,
        "name": inventory.repository,
        "version": inventory.version,
        "properties": _properties([*values.items(), ("platform", inventory.platform), *notes]),
    }


def _properties(values: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": f"{PROPERTY}{name}", "value": value} for name, value in values]


def _component(rows: list[InventoryComponent]) -> dict[str, Any]:
    """Return the component of a package URL, which may be in several layers and inside several others."""
    first = rows[0]
    license_name = next((row.license for row in rows if row.license), "")
    license_text = next((row.license_text for row in rows if row.license_text), "")
    hashes = sorted({row.sha256 for row in rows if row.sha256})
    layers = sorted({("layer", row.layer) for row in rows} | {("pinned-by", row.origin) for row in rows})
    component: dict[str, Any] = {"type": TYPES.get(first.kind, "library"), "bom-ref": first.purl, "name": first.name}
    if first.version:
        component["version"] = first.version
    if hashes:
        component["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in hashes]
    if license_name:
        component["licenses"] = [{"expression": license_name}]
    elif license_text:
        component["licenses"] = [{"license": {"name": license_text}}]
    return {**component, "purl": first.purl, "properties": _properties(layers)}


def _dependencies(inventory: ImageInventory, subject: str) -> list[dict[str, Any]]:
    """Return what contains what: the image its packages, and these their parts."""
    contained: dict[str, set[str]] = {subject: set()}
    for row in inventory.components:
        contained.setdefault(row.purl, set())
        contained.setdefault(row.inside or subject, set()).add(row.purl)
    return [
        {"ref": reference, **({"dependsOn": sorted(below)} if below else {})}
        for reference, below in sorted(contained.items())
    ]
