from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.inspect.inventory import advisory_file

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ROOT / "tests/data/osv/PYSEC-2023-192.json"


@pytest.mark.parametrize("name", ["PYSEC-2023-192", "pysec-2023-192", "CVE-2023-43804"])
def test_an_advisory_is_found_by_its_id_or_alias(name: str) -> None:
    assert advisory_file.find(RECORD, name)["id"] == "PYSEC-2023-192"


def test_an_advisory_is_found_in_a_list_and_in_a_zip_of_an_ecosystem(tmp_path: Path) -> None:
    record = json.loads(RECORD.read_bytes())
    listed, packed = tmp_path / "list.json", tmp_path / "all.zip"
    listed.write_text(json.dumps([{**record, "id": "X-1", "aliases": []}, record]))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("X-1.json", json.dumps({**record, "id": "X-1", "aliases": []}))
        archive.writestr("PYSEC-2023-192.json", json.dumps(record))
    for file in (listed, packed):
        for name in ("PYSEC-2023-192", "CVE-2023-43804"):
            assert advisory_file.find(file, name) == record


def test_an_advisory_that_the_file_does_not_have_is_named() -> None:
    with pytest.raises(UsageError, match=r"has no advisory GHSA-x \(it has 1\)"):
        advisory_file.find(RECORD, "GHSA-x")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}', "OpenVEX"),
        ('{"document": {"category": "csaf_security_advisory"}}', "CSAF"),
        ('{"bomFormat": "CycloneDX"}', "CycloneDX, an SBOM"),
        ("urllib3 is bad", "text, or damaged JSON"),
        ("[1]", "JSON of another kind"),
        ("[" * 100_000, "text, or damaged JSON"),
    ],
)
def test_another_form_of_advisory_is_named(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "advisory"
    file.write_text(text)
    with pytest.raises(UsageError, match="is not an advisory in the OSV format: it is ") as caught:
        advisory_file.find(file, "X")
    assert what in str(caught.value)


def test_a_damaged_zip_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "all.zip"
    file.write_bytes(b"PK\x03\x04" + b"x" * 50)
    with pytest.raises(UsageError, match="is a damaged zip archive"):
        advisory_file.find(file, "X")
