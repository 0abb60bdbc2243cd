"""Damaged files of every kind: one message with the exit code of who writes the file, and never a traceback."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from functools import cache
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import state
from dynamo_containers.engine import bake_metadata, build_refs, daemon, endpoint
from dynamo_containers.engine.paths import EnginePaths
from dynamo_containers.errors import FatalError, LockError
from dynamo_containers.facts import mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.locks import download_sizes, os_lock, python_lock
from dynamo_containers.facts.pins import PINS_FILE, load_pins
from dynamo_containers.inspect.report import store
from dynamo_containers.inspect.sizes import accepted
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import disk_space, input_digests
from dynamo_containers.prepare.build_secrets import index_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases

HAND, TOOL = 2, 4
"""Exit codes: a person wrote the file, or a tool (docs/errors.md)."""
SEEDS = range(12)
NESTED = "[" * 3000
DIGEST = f"sha256:{'1' * 64}"


@dataclass(frozen=True)
class Kind:
    """A kind of file, who writes it, and what reads it."""

    file: str
    code: int
    read: Callable[[Path], object]


@cache
def python_lock_file() -> python_lock.LockFile:
    return {lock.path: lock for lock in python_lock.locks(load_catalogue(ROOT))}["constraints/vllm-debian-amd64.txt"]


@cache
def debian() -> Bases:
    return load_catalogue(ROOT).bases["debian"]


def python_locks(folder: Path) -> None:
    if reason := python_lock.stale_reason(python_lock_file(), folder):
        raise LockError(reason)


def os_locks(folder: Path) -> object:
    lock = os_lock.OsLock(bases=debian(), role="runtime", platform=Platform.AMD64)
    return os_lock.read(lock, folder), os_lock.locked_at(lock, folder)


def configured(variable: str, load: Callable[[dict[str, str]], object]) -> Callable[[Path], object]:
    return lambda folder: load({variable: str(folder / f"{variable}.toml"), "HOME": str(folder)})


KINDS = {
    "images.toml": Kind(IMAGES_FILE, HAND, load_catalogue),
    "pins.toml": Kind(PINS_FILE, TOOL, load_pins),
    "download sizes": Kind(download_sizes.SIZES_FILE, TOOL, download_sizes.load),
    "accepted sizes": Kind(accepted.FILE, TOOL, accepted.read),
    "requirements": Kind("requirements/vllm.in", HAND, python_locks),
    "common constraints": Kind(python_lock.COMMON_CONSTRAINTS, HAND, python_locks),
    "Python lock": Kind("constraints/vllm-debian-amd64.txt", TOOL, python_locks),
    "shared Python lock": Kind("constraints/common-debian-amd64.txt", TOOL, python_locks),
    "OS lock": Kind("constraints/os-debian-runtime-amd64.txt", TOOL, os_locks),
    "Dockerfile": Kind(
        "containers/base/Dockerfile", HAND, lambda folder: input_digests.Digests().summary(folder / "containers/base")
    ),
    "mirrors": Kind(f"{mirrors.VARIABLE}.toml", HAND, configured(mirrors.VARIABLE, mirrors.load)),
    "pip.conf": Kind(
        "pip.conf", HAND, lambda folder: index_address({"PIP_CONFIG_FILE": str(folder / "pip.conf"), "HOME": "/none"})
    ),
}
WRITTEN = {
    accepted.FILE: f'[vllm]\ndigests = ["{DIGEST}"]\n[vllm.layers]\nos = 5\n[vllm.contents]\n"python torch" = 7\n',
    f"{mirrors.VARIABLE}.toml": '[registries]\n"nvcr.io" = "mirror.example"\n',
    "pip.conf": "[global]\nindex-url = https://index.example/simple\n",
}


def replace_by(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content)


def insert(content: bytes) -> Callable[[Path], object]:
    def mutate(file: Path) -> None:
        text = file.read_bytes()
        place = text.index(b"\n", len(text) // 2)
        file.write_bytes(text[:place] + content + text[place:])

    return mutate


def in_place(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def mutate(file: Path) -> None:
        file.unlink()
        make(file)

    return mutate


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte of latin-1": insert(b"\xe9"),
    "a NUL": insert(b"\0"),
    "UTF-16": lambda file: file.write_bytes(file.read_text(encoding="utf-8").encode("utf-16")),
    "UTF-16 without its mark": lambda file: file.write_bytes(file.read_text(encoding="utf-8").encode("utf-16-le")),
    "a folder": in_place(lambda file: file.mkdir()),
    "a loop of links": in_place(lambda file: file.symlink_to(file)),
    "a pipe": in_place(os.mkfifo),
    "a file that cannot be read": in_place(lambda file: file.symlink_to("/proc/self/mem")),
    "noise": replace_by(random.Random(1).randbytes(5000)),  # noqa: S311 - the same bytes in each run
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of this project's own data files, and of those that it does not have."""
    names = {*(kind.file for kind in KINDS.values()), *python_lock_file().inputs} - WRITTEN.keys()
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names} | WRITTEN
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def outcome(kind: Kind, folder: Path) -> int:
    """Return the exit code of reading a file; a traceback is a failed test."""
    try:
        kind.read(folder)
    except FatalError as failure:
        error = failure
    else:
        return 0
    head, *rest = str(error).splitlines()
    assert len(head) < 500
    assert head.isprintable()
    assert rest  # what to do next
    return error.exit_code


@pytest.mark.parametrize("name", KINDS)
def test_files_as_they_are_have_no_fault(name: str, project: Path) -> None:
    assert outcome(KINDS[name], project) == 0


@pytest.mark.parametrize("name", KINDS)
def test_a_byte_order_mark_is_accepted_everywhere(name: str, project: Path) -> None:
    file = project / KINDS[name].file
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert outcome(KINDS[name], project) == 0


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_text_has_the_exit_code_of_who_writes_the_file(name: str, project: Path) -> None:
    kind = KINDS[name]
    file, content = project / kind.file, (project / kind.file).read_bytes()
    codes = {}
    for damage, mutate in DAMAGES.items():
        mutate(file)
        codes[damage] = outcome(kind, project)
        rmtree(file) if file.is_dir() else file.unlink()
        file.write_bytes(content)
    assert codes == dict.fromkeys(DAMAGES, kind.code)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.file.endswith(".toml")])
@pytest.mark.parametrize("value", [NESTED, "9" * 5000, f"{10**30}", '"a\\u0000b"', "'\x1b[31m'", "1979-05-27", "nan"])
def test_a_value_beyond_bounds_is_refused(name: str, value: str, project: Path) -> None:
    file = project / KINDS[name].file
    file.write_text(f"epoch = {value}\n" + file.read_text(encoding="utf-8").replace("epoch = ", "epochs = ", 1))
    assert outcome(KINDS[name], project) == KINDS[name].code


@pytest.mark.parametrize("name", KINDS)
def test_a_random_change_is_read_or_refused_but_no_traceback(name: str, project: Path) -> None:
    kind = KINDS[name]
    file, content = project / kind.file, (project / kind.file).read_bytes()
    codes = set()
    for seed in SEEDS:
        choose = random.Random(f"{name} {seed}")  # noqa: S311 - the same changes in each run
        begin = choose.randrange(len(content))
        end = min(len(content), begin + choose.choice((0, 1, 1, 40, len(content))))
        noise = choose.choice(
            (b"", b"\xff", b"\0", b"[", b'"', b"\n", b" ", b"-1", b"../", b"\r", b"\xc2\x85", b"=" * 99)
        )
        file.write_bytes(content[:begin] + noise + content[end:])
        codes.add(outcome(kind, project))
    assert codes <= {
        0,
        kind.code,
        TOOL if kind.read is python_locks else kind.code,
    }


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_scratch_counts_as_absent(damage: str, tmp_path: Path) -> None:
    mutate, bases = DAMAGES[damage], debian()
    steps = input_digests.record_path(tmp_path, bases, Platform.AMD64)
    files: dict[Path, tuple[Callable[[], Any], Any]] = {
        steps: (lambda: input_digests.last_inputs(tmp_path, bases, Platform.AMD64), {}),
        tmp_path / "record": (lambda: disk_space.read_record(tmp_path / "record"), None),
        tmp_path / state.SIZES / f"{'1' * 64}.json": (lambda: size_cache.recall(tmp_path, DIGEST), None),
        tmp_path / "metadata": (lambda: bake_metadata.digests(tmp_path / "metadata"), {}),
        tmp_path / "config.json": (lambda: endpoint.read_config(tmp_path), {}),
        tmp_path / "state": (lambda: build_refs._read(tmp_path / "state"), {}),
        tmp_path / state.REPORTS / "20261124.json": (lambda: store.read(tmp_path), ()),
        EnginePaths(folder=tmp_path).record: (lambda: daemon.recorded(EnginePaths(folder=tmp_path)), None),
    }
    for file, (read, absent) in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}\n\n", encoding="utf-8")
        mutate(file)
        assert read() == absent, file


@pytest.mark.parametrize(
    "content", [NESTED, '{"a": 1}', "[]", "1", '"text"', "null", '{"a": [1]}', "9" * 5000, "\u00b2"]
)
def test_scratch_of_another_form_counts_as_absent(content: str, tmp_path: Path) -> None:
    bases = debian()
    file = input_digests.record_path(tmp_path, bases, Platform.AMD64)
    for path in (file, tmp_path / "record", tmp_path / "metadata", EnginePaths(folder=tmp_path).record):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    assert input_digests.last_inputs(tmp_path, bases, Platform.AMD64) == {}
    assert bake_metadata.digests(tmp_path / "metadata") == {}
    assert daemon.recorded(EnginePaths(folder=tmp_path)) is None
    assert disk_space.read_record(tmp_path / "record") == (1 if content == "1" else None)


def test_a_digest_of_a_build_is_one(tmp_path: Path) -> None:
    rows = {"a": {bake_metadata.DIGEST: DIGEST}, "b": {bake_metadata.DIGEST: "../../x"}, "c": 1}
    (tmp_path / "metadata").write_text(json.dumps(rows), encoding="utf-8")
    assert bake_metadata.digests(tmp_path / "metadata") == {"a": DIGEST}
