"""Vulnerable versions: a requirement such as `urllib3<2.7`, or an advisory in the OSV format; pure.

The format and its evaluation: https://ossf.github.io/osv-schema/.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamo_containers.errors import UsageError
from dynamo_containers.inspect.inventory import versions
from dynamo_containers.inspect.inventory.components import ComponentKind
from dynamo_containers.inspect.inventory.versions import UnknownVersionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dynamo_containers.inspect.inventory.components import InventoryComponent

OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
"""Sign -> comparison; longer signs first."""
REQUIREMENT = re.compile(
    r"(?:pkg:(?P<kind>[a-z]+)/)?(?P<name>[A-Za-z0-9@/._+~%-]*?[A-Za-z0-9])\s*(?P<rules>(?:[<>=!]=?\s*[^\s,<>=!]+\s*,?\s*)*)"
)
RULE = re.compile(r"(<=|>=|==|!=|<|>)\s*([^\s,<>=!]+)")
ADVISORY_ID = re.compile(r"(?:GHSA|CVE|PYSEC|RUSTSEC|GO|OSV|DSA|DLA|USN|MAL)-[\w.-]+", re.IGNORECASE)
RELEASES = {"11": "bullseye", "12": "bookworm", "13": "trixie", "22.04": "jammy", "24.04": "noble"}
"""Release of Debian or Ubuntu in the name of an ecosystem -> suite."""
FIRST = "0"
"""In an `introduced` event: before all versions."""
COMPARED = ("ECOSYSTEM", "SEMVER")
"""Types of ranges that are compared; of GIT, the versions that are listed beside it count."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change of what is vulnerable, in the order of versions."""

    kind: str
    """introduced, fixed or last_affected."""
    version: str


@dataclass(frozen=True, kw_only=True)
class VulnerablePackage:
    """A package, and which of its versions are vulnerable."""

    kind: str
    """Type of package, as package URLs name it; '' for any."""
    name: str
    suite: str = ""
    """Suite of its distribution; '' for any."""
    ranges: tuple[tuple[Event, ...], ...] = ()
    listed: tuple[str, ...] = ()
    """Versions that are listed one by one."""
    rules: tuple[tuple[str, str], ...] = ()
    """(sign, version) of a requirement, which all hold; none and no range: every version."""

    def affects(self, version: str) -> bool:
        """Return whether a version is vulnerable.

        Raises:
            UnknownVersionError: a version cannot be compared.
        """
        kind = self.kind
        if not (self.ranges or self.listed):
            return all(
                OPERATORS[sign](versions.key(kind, version), versions.key(kind, limit)) for sign, limit in self.rules
            )
        return self._is_listed(version) or any(_is_in(kind, version, events) for events in self.ranges)

    def _is_listed(self, version: str) -> bool:
        if version in self.listed:
            return True
        key = versions.key(self.kind, version) if self.listed else None
        return any(_equals(self.kind, key, listed) for listed in self.listed)

    def fix(self, version: str) -> str:
        """Return the first fixed version after a vulnerable one; '' where none is stated."""
        key = versions.key(self.kind, version)
        fixed = [event.version for events in self.ranges for event in events if event.kind == "fixed"]
        later = [text for text in fixed if versions.key(self.kind, text) > key]
        return min(later, key=lambda text: versions.key(self.kind, text), default="")


def _equals(kind: str, key: object, listed: str) -> bool:
    try:
        return bool(versions.key(kind, listed) == key)
    except UnknownVersionError:  # an old version that no rule of today allows
        return False


def _is_in(kind: str, version: str, events: Iterable[Event]) -> bool:
    key, inside = versions.key(kind, version), False
    first = [event for event in events if event.version == FIRST]
    others = [event for event in events if event.version != FIRST]
    for event in (*first, *sorted(others, key=lambda event: versions.key(kind, event.version))):
        before = event.version == FIRST or key >= versions.key(kind, event.version)
        if event.kind == "introduced":
            inside = inside or before
        elif event.kind == "fixed":
            inside = inside and not before
        else:
            inside = inside and key <= versions.key(kind, event.version)
    return inside


@dataclass(frozen=True, kw_only=True)
class Vulnerability:
    """What is asked about."""

    title: str
    packages: tuple[VulnerablePackage, ...]
    notes: tuple[str, ...] = ()
    """What cannot be matched, or was withdrawn."""


def is_advisory_id(text: str) -> bool:
    """Return whether a text looks like the id of an advisory."""
    return ADVISORY_ID.fullmatch(text) is not None


def requirement(text: str) -> Vulnerability:
    """Return what a requirement means: `urllib3<2.7` of Python, `pkg:cargo/ring<0.17.12`, `pkg:deb/debian/openssl`.

    Raises:
        UsageError: it is not one, or has a version that is not one.
    """
    match = REQUIREMENT.fullmatch(text.strip())
    if match is None:
        message = (
            f'"{text}" is not a package with a rule about its versions.\n'
            'Write it as "urllib3<2.7", "pkg:cargo/ring<0.17.12" or "pkg:deb/debian/openssl<3.0.17-1"; '
            "or the id of an advisory, with --advisory FILE."
        )
        raise UsageError(message)
    kind = match["kind"] or "pypi"
    rules = tuple((sign, version) for sign, version in RULE.findall(match["rules"]))
    if kind not in versions.ORDERS and rules:
        message = (
            f"Versions of pkg:{kind} cannot be compared (known: {', '.join(versions.ORDERS)}).\nLeave out the rule."
        )
        raise UsageError(message)
    for _, version in rules:
        _check_version(kind, version)
    name = match["name"].rpartition("/")[2] if kind in {"deb", "rpm"} else match["name"]
    return Vulnerability(
        title=text, packages=(VulnerablePackage(kind=kind, name=normal_name(kind, name), rules=rules),)
    )


def _check_version(kind: str, version: str) -> None:
    try:
        versions.key(kind, version)
    except UnknownVersionError:
        message = f'"{version}" is not a version of a {kind} package.'
        raise UsageError(message) from None


def normal_name(kind: str, name: str) -> str:
    """Return a name as it is compared."""
    if kind == "pypi":
        return re.sub(r"[-_.]+", "-", name).lower()
    return name.lower() if kind == "golang" else name


def advisory(record: dict[str, Any], name: str) -> Vulnerability:
    """Return what an advisory in the OSV format says.

    Args:
        record: the advisory.
        name: how messages name it.

    Raises:
        UsageError: it breaks the format.
    """
    title = f"{record['id']}: {record.get('summary') or record.get('details', '')[:100]}".rstrip(": ")
    if record.get("withdrawn"):
        return Vulnerability(title=title, packages=(), notes=(f"It was withdrawn on {record['withdrawn']}.",))
    packages, notes = [], []
    try:
        for row in record.get("affected", []):
            ecosystem = row["package"]["ecosystem"]
            package = _affected(row, ecosystem)
            if package:
                packages.append(package)
            else:
                notes.append(f"Packages of {ecosystem} are in no lock: {row['package']['name']} is not matched.")
    except (KeyError, TypeError, AttributeError) as error:
        message = f"{name} is not an advisory in the OSV format: {type(error).__name__}: {error}."
        raise UsageError(message) from None
    return Vulnerability(title=title, packages=tuple(packages), notes=tuple(dict.fromkeys(notes)))


def _affected(row: dict[str, Any], ecosystem: str) -> VulnerablePackage | None:
    family, _, release = ecosystem.partition(":")
    kind = next((kind for start, kind in ECOSYSTEMS.items() if family.lower().startswith(start)), "")
    if not kind:
        return None
    ranges = tuple(
        tuple(Event(kind=key, version=str(version)) for event in found["events"] for key, version in event.items())
        for found in row.get("ranges", [])
        if found["type"] in COMPARED
    )
    return VulnerablePackage(
        kind=kind,
        name=normal_name(kind, row["package"]["name"]),
        suite=RELEASES.get(":".join(part for part in release.split(":") if part not in {"LTS", "Pro"}), release),
        ranges=tuple(tuple(event for event in events if event.kind != "limit") for events in ranges),
        listed=tuple(map(str, row.get("versions", []))),
    )


ECOSYSTEMS = {"pypi": "pypi", "go": "golang", "crates": "cargo", "debian": "deb", "ubuntu": "deb"}
"""Start of the name of an ecosystem, in lower case -> type of package. Crates are named by their registry there."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A component that is vulnerable."""

    component: InventoryComponent
    fix: str
    """The first fixed version; '' where none is stated."""


def matches(components: Iterable[InventoryComponent], vulnerability: Vulnerability) -> Iterator[Match]:
    """Yield the vulnerable components.

    Raises:
        UnknownVersionError: a version cannot be compared.
    """
    for component in components:
        for package in vulnerability.packages:
            if _names(component, package) and package.affects(component.version):
                yield Match(component=component, fix=package.fix(component.version))
                break


def _names(component: InventoryComponent, package: VulnerablePackage) -> bool:
    kind = component.purl.removeprefix("pkg:").partition("/")[0]
    if kind != package.kind or (package.suite and f"distro={package.suite}" not in component.purl):
        return False
    names = {component.name, component.source} if component.kind is ComponentKind.DEB else {component.name}
    return package.name in {normal_name(kind, name) for name in names}
