from __future__ import annotations

import json

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import load_catalogue
from dynamo_containers.facts.locks import requirements
from dynamo_containers.inspect.inventory import components, image
from dynamo_containers.inspect.inventory.components import ComponentKind
from dynamo_containers.platforms import Platform

CATALOGUE = load_catalogue()
PLATFORM = "linux/arm64"


@pytest.fixture(scope="module", params=["base", "frontend", "vllm", "sglang"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_sbom_is_the_same_twice(name: str) -> None:
    first, second = (image.inventory(CATALOGUE, name, "", [PLATFORM], "debian", "cyclonedx").text for _ in range(2))
    assert first == second


def test_spdx_has_what_cyclonedx_has(name: str) -> None:
    cyclonedx, spdx = (
        json.loads(image.inventory(CATALOGUE, name, "", [PLATFORM], "debian", form).text)
        for form in ("cyclonedx", "spdx")
    )
    purls = {row["externalRefs"][0]["referenceLocator"] for row in spdx["packages"] if "externalRefs" in row}
    assert purls == {row["purl"] for row in cyclonedx["components"]}
    identifiers = {row["SPDXID"] for row in spdx["packages"]} | {"SPDXRef-DOCUMENT"}
    assert len(identifiers) == len(spdx["packages"]) + 1
    for row in spdx["relationships"]:
        assert {row["spdxElementId"], row["relatedSpdxElement"]} <= identifiers


def test_every_package_of_the_locks_of_an_image_is_listed_with_a_layer() -> None:
    found = image.LockReader(CATALOGUE).read("sglang", "runtime", "debian", Platform(PLATFORM))
    rows = {row.name: row for row in found.inventory.components if row.kind is ComponentKind.PYTHON}
    for lock in ("base", "common", "sglang"):
        path = f"constraints/{lock}-debian-arm64.txt"
        for package in requirements.read(requirements.read_file(CATALOGUE.folder, path), path):
            assert rows[package.name].version == package.version
            assert rows[package.name].layer in found.layers
    assert found.inventory.notes == ()


def test_the_crates_of_a_wheel_are_parts_of_it() -> None:
    found = image.LockReader(CATALOGUE).read("frontend", "runtime", "debian", Platform(PLATFORM)).inventory
    (runtime,) = [row for row in found.components if row.name == "ai-dynamo-runtime"]
    crates = [row for row in found.components if row.inside == runtime.purl and row.purl.startswith("pkg:cargo/")]
    assert len(crates) > 500


def test_a_deb_is_named_with_its_source_and_suite() -> None:
    found = image.LockReader(CATALOGUE).read("frontend", "runtime", "debian", Platform(PLATFORM)).inventory
    rows = {row.name: row for row in found.components if row.kind is ComponentKind.DEB}
    assert rows["bsdutils"].source == "util-linux"
    assert "arch=arm64&distro=bookworm&upstream=util-linux" in rows["bsdutils"].purl
    assert "distro=trixie" in rows["nats-server"].purl


@pytest.mark.parametrize(
    ("purl", "expected"),
    [
        ("pkg:cargo/ring@0.17.14", ("ring", "0.17.14")),
        ("pkg:golang/github.com/nats-io/nats-server/v2@v2.1#sub", ("github.com/nats-io/nats-server/v2", "v2.1")),
        ("pkg:npm/%40scope/name@1.0", ("@scope/name", "1.0")),
        ("pkg:rpm/almalinux/libaio@0.3-1?arch=x86_64", ("libaio", "0.3-1")),
        ("pkg:generic/libc%2B%2B@1", ("libc++", "1")),
        ("pkg:generic/libfoo", ("libfoo", "")),
    ],
)
def test_a_package_url_has_a_name_and_a_version(purl: str, expected: tuple[str, str]) -> None:
    assert components.purl_name(purl) == expected


def test_an_sbom_of_several_platforms_and_an_unknown_form_are_refused() -> None:
    with pytest.raises(UsageError, match="An SBOM is of one platform, and these are 2"):
        image.inventory(CATALOGUE, "frontend", "", ["all"], "debian", "cyclonedx")
    with pytest.raises(UsageError, match='unknown format "xml"'):
        image.inventory(CATALOGUE, "frontend", "", [PLATFORM], "debian", "xml")
