"""`invoke lock`: which kinds there are, what --check says, and when pins move."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import apt, lock, lock_check, lock_part, model, os_lock
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.pins import PINS_FILE, Pin, PinnedRoot, Pins, load_pins, render
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamo_containers.apt import Package
    from dynamo_containers.model import Catalogue
    from dynamo_containers.os_lock import OsLock
    from tests.unit.conftest import FakeApt

MIRRORS = {
    "debian": "http://mirror.example.invalid/debian",
    "debian-security": "http://mirror.example.invalid/debian-security",
}
BASH = f"'{MIRRORS['debian']}/pool/bash_5.2.15-2_all.deb' bash_5.2.15-2_all.deb 4 SHA256:{'b' * 64}"
ETCD = f"'{MIRRORS['debian']}/pool/etcd-server_3.5-4_all.deb' etcd-server_3.5-4_all.deb 5 SHA256:{'e' * 64}"
NEWER = f"'{MIRRORS['debian']}/pool/etcd-server_3.5-5_all.deb' etcd-server_3.5-5_all.deb 5 SHA256:{'f' * 64}"
THEN, NOW = 1700000000, 1800000000


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        pytest.param([], ("archives", "os", "images", "python"), id="no word means all"),
        pytest.param(["python", "os"], ("os", "python"), id="in the order of the stages"),
        pytest.param(["os", "os"], ("os",), id="one twice"),
    ],
)
def test_the_words_for_kinds_of_pin(words: list[str], meant: tuple[str, ...]) -> None:
    assert lock_part.kinds(words) == meant


def test_an_unknown_kind_names_the_valid_ones() -> None:
    with pytest.raises(UsageError) as caught:
        lock_part.kinds(["os", "pyhton"])
    assert str(caught.value) == ('There is no kind of pin called "pyhton". There is: archives, os, images, python.')


def test_there_is_a_lock_of_os_packages_for_every_root_image_and_platform(catalogue: Catalogue) -> None:
    assert [each.file for each in lock_part.os_locks(catalogue)] == [
        "constraints/os-debian-builder-amd64.txt",
        "constraints/os-debian-builder-arm64.txt",
        "constraints/os-debian-runtime-amd64.txt",
        "constraints/os-debian-runtime-arm64.txt",
    ]


def test_pins_are_read_back_as_they_were_written(checkout: Path) -> None:
    pin = Pin(version="1:3.5+b1~x", archive="debian-security", path="pool/e+_1%3a.deb", size=5, sha256="e" * 64)
    pins = Pins(
        epoch=THEN,
        programs={("debian", name, platform): pin for name in ("etcd", "nats-server") for platform in Platform},
        roots={
            ("debian", role): PinnedRoot(
                index=f"sha256:{'1' * 64}",
                platforms={Platform.AMD64: f"sha256:{'2' * 64}", Platform.ARM64: f"sha256:{'3' * 64}"},
            )
            for role in ("builder", "runtime")
        },
    )
    text = render(pins)
    (checkout / PINS_FILE).write_text(text, encoding="utf-8")
    assert load_pins(checkout) == pins
    assert render(load_pins(checkout)) == text
    assert text.startswith("# WRITTEN BY `invoke lock`")


def test_this_project_s_own_pins_are_as_the_tool_writes_them() -> None:
    text = (model.ROOT / PINS_FILE).read_text(encoding="utf-8")
    values = [line for line in text.splitlines() if not line.startswith("#")]
    assert values == [line for line in render(model.load().pins).splitlines() if not line.startswith("#")]


def test_current_locks_are_said_to_be_so(own_checkout: Path) -> None:
    catalogue = replace(model.load(own_checkout), sources={})
    assert lock_check.check(catalogue) == "Every lock fits what it is made from (archives, os, images, python)."
    assert lock_check.check(model.load(own_checkout), ["os"]) == "Every lock fits what it is made from (os)."


def test_the_check_names_everything_that_is_stale_at_once(own_checkout: Path) -> None:
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    with (own_checkout / "requirements/tools.in").open("a", encoding="utf-8") as file:
        file.write("one-more\n")
    pins = own_checkout / PINS_FILE
    pins.write_text(pins.read_text(encoding="utf-8").replace("[programs.debian.etcd.", "[programs.debian.etc."))
    with pytest.raises(LockError) as caught:
        lock_check.check(model.load(own_checkout))
    message = str(caught.value)
    assert "constraints/tools.txt is stale" in message
    assert "constraints/os-debian-runtime-arm64.txt is missing" in message
    assert "containers/pins.toml has no programs.debian.etcd for linux/amd64" in message
    assert message.count("invoke lock") == 4


def test_the_check_of_one_kind_does_not_look_at_others(own_checkout: Path) -> None:
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    assert lock_check.check(model.load(own_checkout), ["python", "images"])


def test_the_check_of_a_part_looks_at_the_locks_of_that_part(own_checkout: Path) -> None:
    (own_checkout / "constraints/frontend-debian-arm64.txt").unlink()
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    catalogue = model.load(own_checkout)
    assert lock_check.check(catalogue, part=lock_part.Part(platforms=["linux/amd64"]))
    assert lock_check.check(catalogue, ["os", "images"], part=lock_part.Part(bases=["cuda"]))
    for kind, file in (("python", "frontend-debian-arm64"), ("os", "os-debian-runtime-arm64")):
        with pytest.raises(LockError, match=rf"^constraints/{file}\.txt is missing"):
            lock_check.check(catalogue, [kind], part=lock_part.Part(images=["frontend"]))


def test_what_moved_is_printed_and_written_as_markdown(
    own_checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock.publish(lock.refresh(model.load(own_checkout), ["python"]), str(tmp_path / "report.md"))
    assert capsys.readouterr().out == "No Python package moved.\n"
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text == "# What the locks moved\n\nNo Python package moved.\n"


@pytest.fixture
def locked(
    catalogue: Catalogue,
    fake_apt: FakeApt,
    leave_root_image: Callable[[Path, OsLock, tuple[Package, ...], int, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Catalogue:
    """Return a checkout whose locks are what the mirror has, and whose root images are made, then and now."""
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    fake_apt.sources(MIRRORS["debian"])
    fake_apt.would_install(BASH, ETCD)
    packages = apt.parse_uris(f"{BASH}\n{ETCD}\n", MIRRORS)
    digests = {}
    for number, each in enumerate(lock_part.os_locks(catalogue)):
        os_lock.write(each, catalogue.folder, packages, "20231114T221320Z")
        digests[each.role, each.platform] = f"sha256:{number:064}"
        for listed in (packages, apt.parse_uris(f"{BASH}\n{NEWER}\n", MIRRORS)):
            for epoch in (THEN, NOW):
                leave_root_image(catalogue.folder, each, listed, epoch, digests[each.role, each.platform])
    pin = Pin(
        version="3.5-4",
        archive="debian",
        path="pool/etcd-server_3.5-4_all.deb",
        size=5,
        sha256="e" * 64,
        locked="20231114T221320Z",
    )
    pins = Pins(epoch=THEN, programs={("debian", "etcd", each): pin for each in Platform}, roots={})
    (catalogue.folder / PINS_FILE).write_text(render(pins), encoding="utf-8")
    lock.refresh(catalogue, ["images"])
    return catalogue


def test_root_images_are_pinned_by_their_digests(locked: Catalogue) -> None:
    pins = load_pins(locked.folder)
    assert pins.roots["debian", "builder"].platforms == {
        Platform.AMD64: f"sha256:{0:064}",
        Platform.ARM64: f"sha256:{1:064}",
    }


def test_the_epoch_stays_when_nothing_moved(locked: Catalogue) -> None:
    before = (locked.folder / PINS_FILE).read_bytes()
    lock.refresh(locked, ["archives", "os", "images"])
    assert (locked.folder / PINS_FILE).read_bytes() == before
    assert load_pins(locked.folder).epoch == THEN


@pytest.mark.parametrize("kind", ["archives", "os"])
def test_the_epoch_is_now_when_a_package_moved(locked: Catalogue, fake_apt: FakeApt, kind: str) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock.refresh(locked, [kind])
    pins = load_pins(locked.folder)
    assert pins.epoch == NOW
    version = "3.5-5" if kind == "archives" else "3.5-4"
    assert {pin.version for pin in pins.programs.values()} == {version}


def moments(catalogue: Catalogue) -> set[str]:
    """Return what locks and pins say of when they were made."""
    pins = {pin.locked for pin in load_pins(catalogue.folder).programs.values() if isinstance(pin, Pin)}
    return pins | {os_lock.moment_of(each, catalogue.folder) for each in lock_part.os_locks(catalogue)}


def test_what_did_not_move_keeps_the_time_when_it_was_locked(locked: Catalogue) -> None:
    before = {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()}
    lock.refresh(locked, ["archives", "os"])
    assert {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()} == before
    assert moments(locked) == {"20231114T221320Z"}


def test_what_moved_states_the_time(locked: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock.refresh(locked, ["archives", "os"])
    assert moments(locked) == {"20270115T080000Z"}


def test_locks_that_never_stated_a_time_get_one_and_nothing_else_moves(locked: Catalogue) -> None:
    for each in lock_part.os_locks(locked):
        os_lock.write(each, locked.folder, os_lock.read(each, locked.folder))
    pins = locked.folder / PINS_FILE
    lines = pins.read_text(encoding="utf-8").splitlines(keepends=True)
    pins.write_text("".join(line for line in lines if not line.startswith("locked")), encoding="utf-8")
    lock.refresh(locked, ["archives", "os"])
    assert moments(locked) == {"20270115T080000Z"}
    assert load_pins(locked.folder).epoch == THEN


def test_what_moved_is_reported_with_its_layers(locked: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(BASH, NEWER)
    report = lock.refresh(locked, ["archives", "os"])
    os_layers = ", ".join(f"debian-{role}-{arch}" for role in ("builder", "runtime") for arch in ("amd64", "arm64"))
    assert report.terminal.splitlines() == [
        "kind     name         from   to     download  in",
        "archive  etcd         3.5-4  3.5-5  0         debian-programs-amd64, debian-programs-arm64",
        f"os       etcd-server  3.5-4  3.5-5  0         {os_layers}",
        "",
        "debian-builder-amd64: 0 to download",
        "debian-builder-arm64: 0 to download",
        "debian-programs-amd64: 0 to download",
        "debian-programs-arm64: 0 to download",
        "debian-runtime-amd64: 0 to download",
        "debian-runtime-arm64: 0 to download",
    ]


def test_kinds_that_were_not_asked_for_stay(locked: Catalogue, fake_apt: FakeApt) -> None:
    before = {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()}
    fake_apt.would_install(BASH, NEWER)
    lock.refresh(locked, ["archives"])
    assert {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()} == before


def test_the_platforms_of_bases_are_those_of_its_images_or_all_where_it_has_none(
    catalogue: Catalogue,
) -> None:
    small = replace(catalogue, images={"small": catalogue.images["small"]})
    assert lock_part.platforms(catalogue, "debian") == (Platform.AMD64, Platform.ARM64)
    assert lock_part.platforms(small, "debian") == (Platform.AMD64,)
    assert lock_part.platforms(replace(catalogue, images={}), "debian") == (Platform.AMD64, Platform.ARM64)
