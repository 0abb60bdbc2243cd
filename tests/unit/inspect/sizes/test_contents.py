"""Contents of an image by package and file, and the table of what grew."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.inspect.in_container import contents as contents_inside
from dynamo_containers.inspect.sizes import contents as image_contents

if TYPE_CHECKING:
    from pathlib import Path

SITE = "opt/dynamo/venv/lib/python3.11/site-packages"
MB = 10**6


def write(root: Path, path: str, size: int = 0, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() or b"x" * size)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a small file system with a wheel, a package of Debian and files of nobody."""
    record = "Some_Thing/__init__.py,,\n../../../bin/thing,,\nSome_Thing-1.0.dist-info/RECORD,,\n"
    write(tmp_path, f"{SITE}/Some_Thing/__init__.py", 100)
    write(tmp_path, f"{SITE}/Some_Thing/__pycache__/__init__.cpython-311.pyc", 50)
    write(tmp_path, "opt/dynamo/venv/bin/thing", 7)
    write(tmp_path, f"{SITE}/Some_Thing-1.0.dist-info/RECORD", text=record)
    write(tmp_path, "usr/lib/libthing.so.1", 2000)
    (tmp_path / "lib").symlink_to("usr/lib")
    write(tmp_path, "var/lib/dpkg/info/libthing1:amd64.list", text="/.\n/lib\n/lib/libthing.so.1\n")
    write(tmp_path, "usr/local/bin/etcd", 3 * MB)
    write(tmp_path, "opt/dynamo/nixl/lib/deep/small", 5)
    write(tmp_path, "opt/dynamo/nixl/lib/small", 6)
    write(tmp_path, "etc/hosts", 9)
    return tmp_path


def test_a_file_belongs_to_the_wheel_or_the_package_that_lists_it_or_is_named(root: Path) -> None:
    assert contents_inside.contents(str(root), {f"{root}/etc/hosts"}) == {
        "python some-thing": 100 + 50 + 7 + 80,
        "os libthing1": 2000,
        "file /usr/local/bin/etcd": 3 * MB,
        "file /opt/dynamo/nixl/*": 5 + 6,
        "file /var/lib/dpkg/*": 3 + 5 + 19,
    }


def test_what_is_mounted_is_not_the_image_s(root: Path) -> None:
    sizes = contents_inside.contents(str(root), {f"{root}/etc/hosts", f"{root}/opt", f"{root}/var"})
    assert sizes == {"file /usr/local/bin/etcd": 3 * MB, "file /usr/lib/*": 2000}


def test_a_file_of_two_names_counts_once_and_a_link_not_at_all(tmp_path: Path) -> None:
    write(tmp_path, "usr/bin/perl", 2 * MB)
    (tmp_path / "usr/bin/perl5").hardlink_to(tmp_path / "usr/bin/perl")
    (tmp_path / "usr/bin/p").symlink_to("perl")
    assert sum(contents_inside.contents(str(tmp_path)).values()) == 2 * MB


def test_it_runs_with_nothing_but_a_python(tmp_path: Path) -> None:
    write(tmp_path, "usr/bin/tool", 5)
    code = f"import runpy; print(runpy.run_path({contents_inside.__file__!r})['contents']({str(tmp_path)!r}))"
    finished = subprocess.run((sys.executable, "-I", "-S", "-c", code), capture_output=True, text=True, check=True)
    assert finished.stdout == "{'file /usr/bin/*': 5}\n"


def test_small_ones_are_counted_together_by_kind() -> None:
    contents = {"python torch": 2 * MB, "python a": 400_000, "python b": 500_000, "os c": 999_999, "os d": MB}
    assert image_contents.folded(contents) == {
        "python torch": 2 * MB,
        "python (each below 1 MB)": 900_000,
        "os (each below 1 MB)": 999_999,
        "os d": MB,
    }


def test_the_table_says_what_grew_is_new_or_gone_the_largest_difference_first() -> None:
    accepted = {"python torch": 1900 * MB, "os g++-12": 40 * MB, "python numpy": 70 * MB, "python same": 5 * MB}
    sizes = {"python torch": 2100 * MB, "python numpy": 65 * MB, "python jax": 90 * MB, "python same": 5 * MB}
    assert image_contents.table(sizes, accepted) == (
        "Growth by package and file, uncompressed (compared with the accepted sizes):\n"
        "     +200.0 MB  python torch (1900.0 -> 2100.0 MB)\n"
        "      +90.0 MB  python jax (new)\n"
        "      -40.0 MB  os g++-12 (removed)\n"
        "       -5.0 MB  python numpy (70.0 -> 65.0 MB)"
    )


def test_the_table_has_15_lines_and_the_sum_of_the_rest() -> None:
    sizes = {f"python p{number:02}": (100 - number) * MB for number in range(18)}
    lines = image_contents.table(sizes, {"python gone": MB}).splitlines()
    assert len(lines) == 1 + 15 + 1
    assert lines[1] == "     +100.0 MB  python p00 (new)"
    assert lines[-1] == "     +251.0 MB  4 others together"  # 85 + 84 + 83 and the one that is gone


def test_without_accepted_sizes_the_largest_are_listed() -> None:
    assert image_contents.table({"python torch": 2 * MB, "os libc6": 13 * MB}, {}) == (
        "By package and file, uncompressed (no accepted sizes; the largest):\n"
        "       13.0 MB  os libc6\n"
        "        2.0 MB  python torch"
    )


def test_where_nothing_is_of_another_size_the_table_says_so() -> None:
    same = {"python torch": 2 * MB}
    assert image_contents.table(same, same) == "By package and file, uncompressed: everything has the accepted size."
