from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.inspect.inventory import vulnerable
from dynamo_containers.inspect.inventory.components import ComponentKind, InventoryComponent

DATA = ROOT / "tests/data/osv"


def component(
    purl: str, version: str, *, kind: ComponentKind = ComponentKind.PYTHON, source: str = "", inside: str = ""
) -> InventoryComponent:
    name = purl.partition("?")[0].rpartition("@")[0].removeprefix("pkg:").partition("/")[2]
    name = name.rpartition("/")[2] if kind is ComponentKind.DEB else name
    return InventoryComponent(
        kind=kind, name=name, version=version, purl=purl, layer="rest", origin="lock", source=source, inside=inside
    )


def record(name: str) -> dict[str, Any]:
    (path,) = DATA.glob(f"{name}*.json")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.mark.parametrize(
    ("text", "version", "is_affected"),
    [
        ("urllib3<2.7", "2.6.3", True),
        ("urllib3<2.7", "2.7", False),
        ("urllib3>=2,<2.7", "1.26.1", False),
        ("urllib3", "99", True),
        ("urllib3<2.7", "2.7.0rc1", True),
    ],
)
def test_a_requirement_matches_versions(text: str, version: str, *, is_affected: bool) -> None:
    rows = [component(f"pkg:pypi/urllib3@{version}", version)]
    assert bool(list(vulnerable.matches(rows, vulnerable.requirement(text)))) is is_affected


def test_a_requirement_may_be_about_crates_modules_and_debs() -> None:
    crate = component("pkg:cargo/ring@0.17.8", "0.17.8", kind=ComponentKind.PART)
    deb = component("pkg:deb/debian/libssl3@3.0.15-1?arch=amd64", "3.0.15-1", kind=ComponentKind.DEB, source="openssl")
    module = component("pkg:golang/github.com/nats-io/nats-server/v2@2.10.1", "2.10.1", kind=ComponentKind.PART)
    rows = [crate, deb, module]
    for text, expected in (
        ("pkg:cargo/ring<0.17.12", crate),
        ("pkg:deb/debian/openssl<3.0.16-1", deb),
        ("pkg:golang/github.com/nats-io/nats-server/v2<2.11", module),
    ):
        assert [match.component for match in vulnerable.matches(rows, vulnerable.requirement(text))] == [expected]


@pytest.mark.parametrize("text", ["", "<2.7", "urllib3<", "urllib3<<2", "urllib3<two", "pkg:npm/x<1"])
def test_what_is_not_a_requirement_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        vulnerable.requirement(text)


@pytest.mark.parametrize(
    ("version", "fix"),
    [("1.26.16", "1.26.17"), ("2.0.5", "2.0.6"), ("1.26.17", None), ("2.0.6", None), ("2.8.0", None)],
)
def test_events_of_an_advisory_hold_in_the_order_of_versions_not_of_the_file(version: str, fix: str | None) -> None:
    rows = [component(f"pkg:pypi/urllib3@{version}", version)]
    found = list(vulnerable.matches(rows, vulnerable.advisory(record("PYSEC-2023-192"), "file")))
    assert [match.fix for match in found] == ([] if fix is None else [fix])


def test_an_advisory_about_a_crate_matches_what_is_inside_a_wheel() -> None:
    row = component("pkg:cargo/h2@0.4.15", "0.4.15", kind=ComponentKind.PART, inside="pkg:pypi/ai-dynamo-runtime@1.4.2")
    (match,) = vulnerable.matches([row], vulnerable.advisory(record("RUSTSEC-2026-0258"), "file"))
    assert match.fix == "0.4.16"


def test_an_advisory_about_a_go_module_is_read() -> None:
    (_, package, _) = vulnerable.advisory(record("GO-"), "file").packages
    assert (package.kind, package.name) == ("golang", "github.com/nats-io/nats-server/v2")


def advisory(**affected: object) -> vulnerable.Vulnerability:
    row: dict[str, object] = {"package": {"ecosystem": "PyPI", "name": "Torch"}, **affected}
    return vulnerable.advisory({"id": "X-1", "affected": [row]}, "file")


def test_of_a_git_range_the_listed_versions_count_for_builds_too() -> None:
    git = {"type": "GIT", "events": [{"introduced": "0"}]}
    found = advisory(ranges=[git], versions=["2.4.0", "not-a-version"])
    rows = [component(f"pkg:pypi/torch@{version}", version) for version in ("2.4.0+nv", "2.4.1")]
    assert [match.component.version for match in vulnerable.matches(rows, found)] == ["2.4.0+nv"]


def test_the_last_affected_version_is_affected() -> None:
    found = advisory(ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"last_affected": "2"}]}])
    rows = [component(f"pkg:pypi/torch@{version}", version) for version in ("0.9", "1", "2", "2.1")]
    assert [match.component.version for match in vulnerable.matches(rows, found)] == ["1", "2"]


def test_an_advisory_of_a_distribution_is_about_source_packages_of_its_suite() -> None:
    row = {
        "package": {"ecosystem": "Debian:12", "name": "openssl"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.16-1~deb12u1"}]}],
    }
    found = vulnerable.advisory({"id": "DSA-1", "affected": [row]}, "file")
    purl = "pkg:deb/debian/libssl3@3.0.15-1?arch=amd64&distro="
    rows = [
        component(purl + suite, "3.0.15-1", kind=ComponentKind.DEB, source="openssl")
        for suite in ("bookworm", "trixie")
    ]
    assert [match.component for match in vulnerable.matches(rows, found)] == rows[:1]


def test_a_withdrawn_advisory_matches_nothing_and_says_so() -> None:
    found = vulnerable.advisory({**record("PYSEC-2023-192"), "withdrawn": "2024-01-01T00:00:00Z"}, "file")
    assert (found.packages, found.notes) == ((), ("It was withdrawn on 2024-01-01T00:00:00Z.",))


def test_an_ecosystem_that_no_lock_has_is_named() -> None:
    row = {"package": {"ecosystem": "npm", "name": "left-pad"}}
    found = vulnerable.advisory({"id": "X-1", "affected": [row]}, "file")
    assert found.notes == ("Packages of npm are in no lock: left-pad is not matched.",)


def test_an_advisory_without_a_package_is_refused() -> None:
    with pytest.raises(UsageError, match="not an advisory in the OSV format"):
        vulnerable.advisory({"id": "X-1", "affected": [{"versions": ["1"]}]}, "file")
