"""Extension modules that cannot be opened are found, whatever is wrong with them; the exceptions have a name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from tests.smoke.libraries import unexplained
from tests.unit.elf_files import AARCH64, X86_64, elf

(EXTENSION,) = Path(msgspec.__file__).parent.glob("_core*.so")
SYMBOL, ABSENT = b"\0PyObject_GetAttr\0", b"\0PyObject_GetAttQ\0"
MACHINE = int.from_bytes(Path(sys.executable).read_bytes()[18:20], "little")


def opened(*arguments: Path) -> dict[str, Any]:
    argv = (sys.executable, "-B", str(ROOT / "tests/smoke/inside/open_libraries.py"), *map(str, arguments))
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a folder with an extension module that can be opened."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "good.so").write_bytes(EXTENSION.read_bytes())
    return folder


def test_a_folder_of_good_libraries_has_no_failure_and_links_count_once(packages: Path) -> None:
    (packages / "link.so").symlink_to("good.so")
    (packages / "hard.so").hardlink_to(packages / "good.so")
    assert opened(packages) == {"opened": 1, "failed": {}}


def test_an_undefined_symbol_is_found_without_a_call_of_it(packages: Path) -> None:
    content = EXTENSION.read_bytes()
    assert SYMBOL in content
    (packages / "bad.so").write_bytes(content.replace(SYMBOL, ABSENT))
    answer = opened(packages)
    assert answer["opened"] == 2
    assert list(answer["failed"]) == [f"{packages}/bad.so"]
    assert "undefined symbol: PyObject_GetAttQ" in answer["failed"][f"{packages}/bad.so"]


def test_each_failure_is_listed_by_name_and_none_ends_the_others(packages: Path) -> None:
    (packages / "needs.so").write_bytes(elf("libneeds.so", needed=("libnot-there.so.1",), machine=MACHINE))
    (packages / "half.so").write_bytes(EXTENSION.read_bytes()[: EXTENSION.stat().st_size // 3])
    answer = opened(packages)
    assert (answer["opened"], len(answer["failed"])) == (3, 2)
    assert answer["failed"][f"{packages}/needs.so"].startswith("libnot-there.so.1: cannot open shared object file")


def test_data_that_is_named_like_a_library_is_not_opened(packages: Path) -> None:
    (packages / "text.so").write_text("INPUT(libc.so.6)", encoding="utf-8")
    (packages / "empty.so").write_bytes(b"")
    (packages / "foreign.so").write_bytes(elf("libforeign.so", machine=AARCH64 if MACHINE == X86_64 else X86_64))
    assert opened(packages) == {"opened": 1, "failed": {}}


def test_torch_is_loaded_first_and_its_failure_is_one_of_the_answers(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packages / "torch.py").write_text("raise ImportError('libtorch is broken')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    assert opened(packages)["failed"] == {"import torch": "ImportError: libtorch is broken"}


def test_only_what_no_pattern_explains_is_reported_each_with_its_error() -> None:
    said = "cannot open shared object file: No such file or directory"
    failed = {
        "/opt/dynamo/venv/lib/python3.11/site-packages/a.so": f"libcuda.so.1: {said}",
        "/opt/dynamo/venv/lib/python3.11/site-packages/b.so": f"libother.so.1: {said}",
        "/opt/dynamo/venv/lib/python3.11/site-packages/c.so": "/opt/c.so: undefined symbol: cuInit",
        "/opt/dynamo/venv/lib/python3.11/site-packages/d.so": "/opt/d.so: undefined symbol: x",
    }
    assert unexplained(failed, ["libcuda.so.*"], ["*/site-packages/c.so"]) == [
        f"/opt/dynamo/venv/lib/python3.11/site-packages/b.so: libother.so.1: {said}",
        "/opt/dynamo/venv/lib/python3.11/site-packages/d.so: /opt/d.so: undefined symbol: x",
    ]


def test_an_exception_without_a_reason_is_refused(own_checkout: Path) -> None:
    with (own_checkout / IMAGES_FILE).open("a", encoding="utf-8") as rows:
        rows.write('\n[images.sglang.unloadable-libraries]\n"*/a.so" = " "\n')
    with pytest.raises(UsageError, match=r'images\.sglang\.unloadable-libraries\."\*/a\.so"'):
        load_catalogue(own_checkout)
