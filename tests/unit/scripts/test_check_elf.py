"""The script check-elf finds files for another machine than that of the platform, from any package."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import ROOT

if TYPE_CHECKING:
    from pathlib import Path

AMD64, ARM64, CUDA, BPF, I386 = 62, 183, 190, 247, 3


def leave(path: Path, machine: int) -> Path:
    """Write the header of an ELF file (System V ABI): e_machine is at byte 18."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little") + bytes(44))
    return path


def check_elf(folder: Path, arch: str) -> tuple[int, str]:
    argv = (sys.executable, str(ROOT / "containers/bin/check-elf"), str(folder), arch)
    finished = subprocess.run(argv, capture_output=True, text=True, check=False)
    return finished.returncode, finished.stderr


def test_files_of_the_machine_and_files_that_are_no_programs_are_right(tmp_path: Path) -> None:
    leave(tmp_path / "bin/tool", AMD64)
    (tmp_path / "data").write_bytes(b"\x7fEL")
    (tmp_path / "empty.so").touch()
    (tmp_path / "bin/link").symlink_to("/nowhere")
    assert check_elf(tmp_path, "amd64") == (0, "")


def test_a_library_for_another_machine_is_named_with_its_package(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    library = leave(packages / "kernels/_C.so", ARM64)
    record = packages / "fast_kernels-1.2.dist-info/RECORD"
    record.parent.mkdir()
    record.write_text("kernels/__init__.py,,\nkernels/_C.so,sha256=x,64\n", encoding="utf-8")
    code, complaints = check_elf(tmp_path, "amd64")
    assert code == 1
    assert complaints.splitlines() == [
        f"error: fast_kernels==1.2: {library} is for ELF machine 183, not for amd64",
        "error: 1 of the files are not for amd64, whatever their wheels are named.",
        "Report this to the authors of the package, and lock another release: invoke lock --upgrade NAME",
    ]
    assert check_elf(tmp_path, "arm64") == (0, "")


def test_a_file_of_no_package_and_without_a_suffix_is_found_too(tmp_path: Path) -> None:
    program = leave(tmp_path / "opt/program", I386)
    code, complaints = check_elf(tmp_path, "amd64")
    assert code == 1
    assert f"error: no package: {program} is for ELF machine 3" in complaints


def test_code_of_devices_and_of_the_kernel_is_right_on_any_machine(tmp_path: Path) -> None:
    leave(tmp_path / "kernel.cubin", CUDA)
    leave(tmp_path / "probe.o", BPF)
    assert check_elf(tmp_path, "amd64") == check_elf(tmp_path, "arm64") == (0, "")


def test_many_wrong_files_are_counted_and_twenty_of_them_named(tmp_path: Path) -> None:
    for number in range(25):
        leave(tmp_path / f"{number}.so", ARM64)
    _, complaints = check_elf(tmp_path, "amd64")
    assert len(complaints.splitlines()) == 22
    assert "error: 25 of the files" in complaints


def test_stubs_for_compiling_for_the_other_machine_are_data_and_what_lies_beside_them_is_not(tmp_path: Path) -> None:
    package = tmp_path / "lib/python3.11/site-packages/nvidia_cutlass_dsl/cu13/lib"
    leave(package / "stubs/aarch64-unknown-linux-gnu/libcute_dsl_runtime.so", ARM64)
    assert check_elf(tmp_path, "amd64") == (0, "")
    leave(package / "libcute_dsl_runtime.so", ARM64)
    assert check_elf(tmp_path, "amd64")[0] == 1
