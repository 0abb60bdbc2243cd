"""SPDX 2.3 document, converted from a CycloneDX document; pure.

Format: https://spdx.github.io/spdx-spec/v2.3/. What CycloneDX does not state is NOASSERTION, which is not NONE.
"""

from __future__ import annotations

import hashlib
from typing import Any

NO_ASSERTION = "NOASSERTION"
PURPOSES = {"application": "APPLICATION", "container": "CONTAINER", "library": "LIBRARY"}
"""Type of a CycloneDX component -> primaryPackagePurpose."""
REFERENCE = "LicenseRef-"


def document(cyclonedx: dict[str, Any]) -> dict[str, Any]:
    """Return the SPDX document with the components and dependencies of a CycloneDX document."""
    metadata = cyclonedx["metadata"]
    rows = [metadata["component"], *cyclonedx["components"]]
    packages = [_package(row) for row in rows]
    serial = cyclonedx["serialNumber"].rpartition(":")[2]
    subject = _identifier(metadata["component"])
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": metadata["component"]["name"],
        "documentNamespace": f"https://spdx.org/spdxdocs/{metadata['component']['name']}-{serial}",
        "creationInfo": {"created": metadata["timestamp"], "creators": ["Tool: dynamo-containers"]},
        "documentDescribes": [subject],
        "packages": packages,
        "hasExtractedLicensingInfos": _references(packages),
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": subject},
            *_relationships(cyclonedx),
        ],
    }


def _identifier(row: dict[str, Any]) -> str:
    return _identifier_of(row["bom-ref"])


def _identifier_of(reference: str) -> str:
    return f"SPDXRef-{hashlib.sha256(reference.encode()).hexdigest()[:16]}"


def _package(row: dict[str, Any]) -> dict[str, Any]:
    license_name, comment = _license(row)
    package: dict[str, Any] = {"SPDXID": _identifier(row), "name": row["name"]}
    if row.get("version"):
        package["versionInfo"] = row["version"]
    package |= {
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": license_name,
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": PURPOSES[row["type"]],
    }
    if comment:
        package["licenseComments"] = comment
    if "hashes" in row:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": each["content"]} for each in row["hashes"]]
    if "purl" in row:
        reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": row["purl"]}
        package["externalRefs"] = [reference]
    return package


def _license(row: dict[str, Any]) -> tuple[str, str]:
    """Return its declared licence, and what its metadata says where that is no SPDX expression."""
    for choice in row.get("licenses", ()):
        if "expression" in choice:
            return choice["expression"], ""
        return NO_ASSERTION, f"Its metadata says: {choice['license']['name']}"
    return NO_ASSERTION, ""


def _references(packages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the licences that are not on SPDX's list; their texts are in the packages themselves."""
    words = {word.strip("()") for package in packages for word in package["licenseDeclared"].split()}
    text = "The text is in the package."
    return [
        {"licenseId": word, "extractedText": text, "name": word.removeprefix(REFERENCE)}
        for word in sorted(words)
        if word.startswith(REFERENCE)
    ]


def _relationships(cyclonedx: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "spdxElementId": _identifier_of(row["ref"]),
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": _identifier_of(reference),
        }
        for row in cyclonedx["dependencies"]
        for reference in row.get("dependsOn", ())
    ]
