from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from typing import Any

import pytest

from dynamo_containers.errors import LockError
from dynamo_containers.prepare.contents import licenses, package_file, sbom

NAME = "x-1.0-py3-none-any.whl"
CYCLONEDX: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "metadata": {"component": {"purl": "pkg:cargo/x@1.0?download_url=file:///home/me/x"}},
    "components": [
        {"purl": "pkg:cargo/x@1.0?download_url=file:///home/me/x"},
        {"purl": "pkg:cargo/ring@0.17.14", "licenses": [{"expression": "Apache-2.0/MIT"}]},
        {"purl": "pkg:cargo/inner@1?download_url=file:///home/me/inner#src/lib.rs", "components": [{"name": "deep"}]},
        {"name": "libfoo", "version": "2", "licenses": [{"license": {"id": "MIT"}}, {"license": {"id": "Zlib"}}]},
    ],
    "dependencies": [{"ref": "a", "dependsOn": ["b"]}, {"ref": "b", "dependsOn": ["a"]}],
}


def wheel(**files: str) -> io.BytesIO:
    """Return a wheel with these files; `__` in a name stands for its *.dist-info folder."""
    texts = {"x.py": "", "x-1.0.dist-info/METADATA": "Name: x\n", "x-1.0.dist-info/WHEEL": "Root-Is-Purelib: true\n"}
    texts |= {name.replace("__", "x-1.0.dist-info/").replace("_so", ".so"): text for name, text in files.items()}
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        for name, text in texts.items()
    }
    record = "".join(f"{name},sha256={digest},{len(texts[name])}\n" for name, digest in digests.items())
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in (*texts.items(), ("x-1.0.dist-info/RECORD", record + "x-1.0.dist-info/RECORD,,\n")):
            archive.writestr(name, text)
    content.seek(0)
    return content


def test_a_wheel_has_a_licence_and_the_parts_of_its_sboms_and_its_libraries() -> None:
    file = wheel(
        __METADATA="Name: x\nLicense-Expression: MIT OR Apache-2.0\n",
        **{
            "__sboms/x.cdx.json": json.dumps(CYCLONEDX),
            "x.libs/libgomp-a34b3233.so.1.0.0": "",
            "x.libs/libgomp.so": "",
        },
    )
    content = package_file.read_wheel(file, NAME)
    assert content.license == "Apache-2.0 OR MIT"
    assert [(row.purl, row.license) for row in content.components] == [
        ("pkg:cargo/inner@1", ""),
        ("pkg:cargo/ring@0.17.14", "Apache-2.0 OR MIT"),
        ("pkg:generic/deep", ""),
        ("pkg:generic/libfoo@2", "MIT AND Zlib"),
        ("pkg:generic/libgomp@1.0.0", ""),
    ]


def test_no_path_of_the_machine_that_built_a_wheel_is_kept() -> None:
    rows = sbom.read_sbom(json.dumps(CYCLONEDX).encode(), "x")
    assert not [row for row in rows if "file:" in row.purl or "/home/" in row.purl]


def test_an_sbom_in_the_form_of_spdx_is_read() -> None:
    package = {
        "name": "openssl",
        "licenseDeclared": "Apache-2.0",
        "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:generic/openssl@3.0.1"}],
    }
    document = {"spdxVersion": "SPDX-2.3", "packages": [package, {"name": "zlib", "licenseDeclared": "NOASSERTION"}]}
    rows = sbom.read_sbom(json.dumps(document).encode(), "x")
    assert [(row.purl, row.license) for row in rows] == [
        ("pkg:generic/openssl@3.0.1", "Apache-2.0"),
        ("pkg:generic/zlib", ""),
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"bomFormat": "other"}', "[" * 100_000])
def test_what_is_not_an_sbom_is_refused_by_the_name_of_its_wheel(text: str) -> None:
    with pytest.raises(LockError, match=r"x-1\.0-py3-none-any\.whl: x-1\.0\.dist-info/sboms/x\.json"):
        package_file.read_wheel(wheel(**{"__sboms/x.json": text}), NAME)


def test_an_sbom_of_too_many_components_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbom, "MOST_COMPONENTS", 2)
    with pytest.raises(LockError, match="more than 2 components"):
        sbom.read_sbom(json.dumps(CYCLONEDX).encode(), "x")


def test_components_that_contain_each_other_deeply_are_all_listed() -> None:
    row: dict[str, Any] = {"purl": "pkg:cargo/a@1"}
    for number in range(300):
        row = {"purl": f"pkg:cargo/b{number}@1", "components": [row]}
    rows = sbom.read_sbom(json.dumps({"bomFormat": "CycloneDX", "components": [row]}).encode(), "x")
    assert len(rows) == 301


@pytest.mark.parametrize(
    ("expression", "text", "classifiers", "expected"),
    [
        ("MIT", "", [], ("MIT", "")),
        ("LicenseRef-NVIDIA-Proprietary", "", [], ("LicenseRef-NVIDIA-Proprietary", "")),
        ("", "Apache 2.0", [], ("Apache-2.0", "")),
        ("", "MIT License\n\nCopyright", [], ("MIT", "")),
        ("", "", ["License :: OSI Approved :: MIT License"], ("MIT", "")),
        ("", "", ["License :: OSI Approved :: BSD License"], ("", "BSD License")),
        ("", "Copyright 2020", ["License :: OSI Approved :: ISC License (ISCL)"], ("ISC", "")),
        ("", "", [], ("", "")),
    ],
)
def test_a_licence_is_an_expression_only_where_it_is_clear(
    expression: str, text: str, classifiers: list[str], expected: tuple[str, str]
) -> None:
    assert licenses.from_metadata(expression, text, classifiers) == expected


def test_a_source_archive_has_the_licence_of_its_pkg_info() -> None:
    content, text = io.BytesIO(), b"Name: x\nLicense: MIT\n"
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo("x-1.0/PKG-INFO")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    content.seek(0)
    assert package_file.read_source_archive(content, "x-1.0.tar.gz").license == "MIT"
    with pytest.raises(LockError, match="is not a source archive"):
        package_file.read_source_archive(io.BytesIO(b"no archive"), "x-1.0.tar.gz")
