"""Reader of SBOMs that wheels bring (PEP 770): CycloneDX and SPDX in JSON, as a flat list of package URLs.

What contains what is not read, so a document in which components depend on each other in a circle does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packageurl import PackageURL

from dynamo_containers import file_reader
from dynamo_containers.errors import LockError
from dynamo_containers.facts.locks.contents import ListedComponent
from dynamo_containers.prepare.contents.licenses import spdx_expression

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_COMPONENTS = 100_000
"""Components of the largest SBOM that is read. That of Dynamo's wheel has 850."""


class SbomError(LockError):
    """An SBOM is not what it says."""


def read_sbom(content: bytes, name: str) -> tuple[ListedComponent, ...]:
    """Return the components of an SBOM, without the subject of the document itself.

    Args:
        content: the document.
        name: how messages name it.

    Raises:
        SbomError: it is not JSON, not CycloneDX or SPDX, or has too many components.
    """
    try:
        document = file_reader.parse_json(content)
    except ValueError as error:
        message = f"{name} is not JSON: {error}."
        raise SbomError(message) from None
    if isinstance(document, dict) and document.get("bomFormat") == "CycloneDX":
        rows = _cyclonedx(document)
    elif isinstance(document, dict) and str(document.get("spdxVersion", "")).startswith("SPDX-2"):
        rows = _spdx(document)
    else:
        message = f"{name} is neither CycloneDX nor SPDX 2 in JSON."
        raise SbomError(message)
    components: dict[str, ListedComponent] = {}
    for row in rows:
        components.setdefault(row.purl, row)
        if len(components) > MOST_COMPONENTS:
            message = f"{name} has more than {MOST_COMPONENTS} components."
            raise SbomError(message)
    return tuple(sorted(components.values()))


def _cyclonedx(document: dict[str, Any]) -> Iterator[ListedComponent]:
    subject = document.get("metadata", {}).get("component", {}) if isinstance(document.get("metadata"), dict) else {}
    pending = [*_rows(document, "components")]
    while pending:
        row = pending.pop()
        pending += _rows(row, "components")
        if row.get("purl") and row.get("purl") == subject.get("purl"):
            continue
        purl = normal_purl(_text(row, "purl")) or _generic(_text(row, "name"), _text(row, "version"))
        if purl:
            yield ListedComponent(purl=purl, license=_cyclonedx_license(row))


def _rows(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = row.get(key)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _cyclonedx_license(row: dict[str, Any]) -> str:
    """Return its licence: one expression, or the ids of several licences that all hold."""
    texts = []
    for choice in _rows(row, "licenses"):
        entry = choice.get("license")
        texts.append(
            _text(choice, "expression")
            or (_text(entry, "id") or _text(entry, "name") if isinstance(entry, dict) else "")
        )
    expressions = [spdx_expression(text) for text in texts if text]
    return spdx_expression(" AND ".join(f"({text})" for text in expressions)) if all(expressions) else ""


def _spdx(document: dict[str, Any]) -> Iterator[ListedComponent]:
    for row in _rows(document, "packages"):
        references = _rows(row, "externalRefs")
        purls = [_text(ref, "referenceLocator") for ref in references if ref.get("referenceType") == "purl"]
        purl = normal_purl(purls[0] if purls else "") or _generic(_text(row, "name"), _text(row, "versionInfo"))
        declared = _text(row, "licenseConcluded"), _text(row, "licenseDeclared")
        texts = [text for text in declared if text not in {"", "NOASSERTION", "NONE"}]
        if purl:
            yield ListedComponent(purl=purl, license=spdx_expression(texts[0]) if texts else "")


def normal_purl(text: str) -> str:
    """Return a package URL in its normal form, without paths of the machine that built it; '' for an invalid one."""
    try:
        purl = PackageURL.from_string(text)
    except ValueError:
        return ""
    qualifiers = dict(purl.qualifiers)
    kept = {key: value for key, value in qualifiers.items() if not value.startswith("file:")}
    is_local = kept != qualifiers
    return purl._replace(qualifiers=kept, subpath=None if is_local else purl.subpath).to_string()


def _generic(name: str, version: str) -> str:
    return PackageURL("generic", None, name, version or None).to_string() if name else ""
