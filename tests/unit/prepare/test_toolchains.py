"""Tests of compilers from release archives: their pins, the folders of their archives, and faulty rows."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE, load_catalogue
from dynamo_containers.facts.pins import PINS_FILE, render
from dynamo_containers.lock import archives as lock_archives
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import toolchains
from dynamo_containers.upstream import deb_origins, download, release_archive

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.pins import Pins

ADDRESS = "https://static.rust-lang.org/dist/rust-1.98.1-aarch64-unknown-linux-gnu.tar.gz"


@pytest.fixture
def own(own_checkout: Path) -> Catalogue:
    return load_catalogue(own_checkout)


def without_rust(pins: Pins) -> Pins:
    return replace(pins, programs={key: pin for key, pin in pins.programs.items() if key[1] != "rust"})


def test_rust_is_pinned_as_released_for_each_platform(own: Catalogue) -> None:
    bases = own.bases["cuda"]
    assert toolchains.pin_for(own.pins, bases, "rust", Platform.ARM64).url == ADDRESS
    assert bases.toolchains["rust"].installer_of(Platform.AMD64) == "rust-1.98.1-x86_64-unknown-linux-gnu/install.sh"
    assert len({toolchains.pin_for(own.pins, bases, "rust", platform).sha256 for platform in Platform}) == 2


def test_the_error_for_a_compiler_without_a_pin_has_the_command_that_pins_it(own: Catalogue) -> None:
    with pytest.raises(LockError) as caught:
        toolchains.pin_for(without_rust(own.pins), own.bases["cuda"], "rust", Platform.ARM64)
    assert str(caught.value) == (
        "containers/pins.toml has no programs.cuda.rust for linux/arm64.\n"
        f"The compiler of the set rust is {ADDRESS}. Where that or a mirror of it (docs/how-to/mirrors.md) can be "
        "reached, pin it with: invoke lock --only archives --bases cuda"
    )


def test_another_version_than_the_pinned_one_is_stale(own: Catalogue) -> None:
    bases = own.bases["cuda"]
    newer = replace(bases, toolchains={"rust": replace(bases.toolchains["rust"], version="2.0.0")})
    with pytest.raises(LockError, match=r"pins[.]toml is stale: programs[.]cuda[.]rust .*1[.]98[.]1"):
        toolchains.pin_for(own.pins, newer, "rust", Platform.ARM64)
    changed = replace(own, bases={**own.bases, "cuda": newer})
    result = lock_check.check(changed, selection.select(["archives"]))
    assert result.exit_code == 4
    assert "programs.cuda.rust for linux" in result.text


def test_the_check_lists_a_compiler_without_a_pin_as_never_locked(own: Catalogue) -> None:
    (own.folder / PINS_FILE).write_text(render(without_rust(own.pins)), encoding="utf-8")
    result = lock_check.check(load_catalogue(own.folder), selection.select(["archives"]))
    assert result.exit_code == 10
    assert re.search(rf"programs[.]cuda[.]rust for linux/arm64 +{ADDRESS}$", result.text, re.MULTILINE)


def test_its_archive_is_fetched_once_into_a_folder_of_its_pins(own: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fetched = own.folder / "archive", []
    archive.write_bytes(b"rust")

    def answer(folder: Path, pin: object) -> Path:
        fetched.append((folder, pin))
        return archive

    monkeypatch.setattr(release_archive, "fetch", answer)
    bases = own.bases["cuda"]
    for _ in range(2):
        toolchains.ensure(own.folder, bases, own.pins, "rust", Platform.ARM64)
    assert fetched == [(own.folder, own.pins.programs["cuda", "rust", Platform.ARM64])]
    folder = toolchains.folder_of(own.folder, bases, own.pins, "rust")
    assert (folder / "arm64" / toolchains.ARCHIVE).read_bytes() == b"rust"
    key = ("cuda", "rust", Platform.AMD64)
    moved = replace(own.pins, programs={**own.pins.programs, key: replace(own.pins.programs[key], sha256="0" * 64)})
    assert toolchains.folder_of(own.folder, bases, moved, "rust") != folder


def test_a_pinned_archive_must_have_the_installer(own: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = []
    monkeypatch.setattr(
        release_archive, "unpack", lambda _, address, names, __: unpacked.append((address, tuple(names)))
    )
    monkeypatch.setattr(
        download,
        "fetch_unpinned",
        lambda _, address, seconds: download.Download(url=address, sha256="1" * 64, size=int(seconds)),
    )
    target = [(own.bases["cuda"], Platform.ARM64)]
    outcome = lock_archives.pin_archives(own.folder, target, without_rust(own.pins))
    assert unpacked == [(ADDRESS, ("rust-1.98.1-aarch64-unknown-linux-gnu/install.sh",))]
    assert outcome.pins["cuda", "rust", Platform.ARM64].sha256 == "1" * 64


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("[bases.cuda.toolchains.go]", 'bases.cuda.toolchains: found "go"'),
        ("[bases.cuda.toolchains.rust]\nprefix = 1", "toolchains.rust.prefix"),
    ],
)
def test_an_unknown_row_is_rejected_by_name(own: Catalogue, new: str, message: str) -> None:
    file = own.folder / IMAGES_FILE
    text = file.read_text(encoding="utf-8").replace("[bases.cuda.toolchains.rust]", new)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_catalogue(own.folder)
    assert message in str(caught.value)


def test_an_archive_that_was_changed_is_laid_out_again(own: Catalogue) -> None:
    bases, content = own.bases["cuda"], b"rust"
    key = ("cuda", "rust", Platform.ARM64)
    pin = replace(own.pins.programs[key], sha256=hashlib.sha256(content).hexdigest())
    pins = replace(own.pins, programs={**own.pins.programs, key: pin})
    stored = deb_origins.downloads(own.folder) / "sha256" / pin.sha256
    stored.parent.mkdir(parents=True)
    stored.write_bytes(content)
    for _ in range(2):
        toolchains.ensure(own.folder, bases, pins, "rust", Platform.ARM64)
        archive = toolchains.folder_of(own.folder, bases, pins, "rust") / "arm64" / toolchains.ARCHIVE
        assert archive.read_bytes() == content
        archive.write_bytes(b"evil")
    assert stored.read_bytes() == content
