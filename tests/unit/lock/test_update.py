"""`invoke lock`: when pins move, and what is reported."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dynamo_containers.errors import BusyError, LockError
from dynamo_containers.facts.catalogue import ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.locks.kinds import LockKind
from dynamo_containers.facts.locks.moves import Move
from dynamo_containers.facts.pins import PINS_FILE, ArchivePin, CommitPin, ImagePin, PackagePin, Pins, load_pins, render
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.lock import update as lock_update
from dynamo_containers.lock.os import on_image
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.lock.python.report import UnsharedPackage
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import root_images
from dynamo_containers.upstream import apt
from dynamo_containers.upstream.unreachable import UnreachableInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock
    from dynamo_containers.facts.locks.os_package import Package
    from tests.unit.conftest import FakeApt

MIRRORS = {
    "debian": "http://mirror.example.invalid/debian",
    "debian-security": "http://mirror.example.invalid/debian-security",
}
BASH = f"'{MIRRORS['debian']}/pool/bash_5.2.15-2_all.deb' bash_5.2.15-2_all.deb 4 SHA256:{'b' * 64}"
ETCD = f"'{MIRRORS['debian']}/pool/etcd-server_3.5-4_all.deb' etcd-server_3.5-4_all.deb 5 SHA256:{'e' * 64}"
NEWER = f"'{MIRRORS['debian']}/pool/etcd-server_3.5-5_all.deb' etcd-server_3.5-5_all.deb 5 SHA256:{'f' * 64}"
THEN, NOW = 1700000000, 1800000000


def test_pins_are_read_back_as_they_were_written(checkout: Path) -> None:
    pin = PackagePin(version="1:3.5+b1~x", archive="debian-security", path="pool/e+_1%3a.deb", size=5, sha256="e" * 64)
    release = ArchivePin(version="3.5.21", url="https://example.invalid/etcd.tar.gz", sha256="d" * 64, size=7)
    bare = ImagePin(image="nvcr.io/nvidia/cuda:13", index=f"sha256:{'4' * 64}", platforms={})
    split = ImagePin(
        image="quay.io/wheels_{machine}:1", index="", platforms=dict.fromkeys(Platform, f"sha256:{'5' * 64}")
    )
    pins = Pins(
        epoch=THEN,
        programs={
            **{("debian", name, platform): pin for name in ("etcd", "nats-server") for platform in Platform},
            ("cuda", "etcd", Platform.AMD64): release,
            ("cuda", "etcd", Platform.ARM64): replace(release, size=0),
        },
        sources={"dynamo": CommitPin(ref="v1", commit="c" * 40)},
        roots={("cuda", "runtime"): bare, ("cuda", "builder"): split}
        | {
            ("debian", role): ImagePin(
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
    text = (ROOT / PINS_FILE).read_text(encoding="utf-8")
    values = [line for line in text.splitlines() if not line.startswith("#")]
    assert values == [line for line in render(load_catalogue().pins).splitlines() if not line.startswith("#")]


def test_the_changes_are_also_written_as_markdown(own_checkout: Path, tmp_path: Path) -> None:
    selected = selection.select(["python"], images=["frontend", "vllm"])
    result = lock_update.update(load_catalogue(own_checkout), selected, report=str(tmp_path / "report.md"))
    assert (result.text, result.exit_code) == ("Nothing moved.", 0)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text == "# Changes of the locks\n\nNothing moved.\n"


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
    for number, lock in enumerate(selection.os_locks(catalogue)):
        write_lock(lock, catalogue.folder, packages, "20231114T221320Z")
        digests[lock.role, lock.platform] = f"sha256:{number:064}"
        for listed in (packages, apt.parse_uris(f"{BASH}\n{NEWER}\n", MIRRORS)):
            for epoch in (THEN, NOW):
                leave_root_image(catalogue.folder, lock, listed, epoch, digests[lock.role, lock.platform])
    pin = PackagePin(
        version="3.5-4",
        archive="debian",
        path="pool/etcd-server_3.5-4_all.deb",
        size=5,
        sha256="e" * 64,
        locked="20231114T221320Z",
    )
    pins = Pins(epoch=THEN, programs={("debian", "etcd", platform): pin for platform in Platform}, roots={})
    (catalogue.folder / PINS_FILE).write_text(render(pins), encoding="utf-8")
    lock_update.update(catalogue, selection.select(["images"]))
    return catalogue


def test_root_images_are_pinned_by_their_digests(locked: Catalogue) -> None:
    pins = load_pins(locked.folder)
    assert pins.roots["debian", "builder"].platforms == {
        Platform.AMD64: f"sha256:{0:064}",
        Platform.ARM64: f"sha256:{1:064}",
    }


def test_the_epoch_stays_when_nothing_moved(locked: Catalogue) -> None:
    before = (locked.folder / PINS_FILE).read_bytes()
    lock_update.update(locked, selection.select(["archives", "os", "images"]))
    assert (locked.folder / PINS_FILE).read_bytes() == before
    assert load_pins(locked.folder).epoch == THEN


def test_pins_that_cannot_be_read_are_neither_replaced_nor_believed(locked: Catalogue) -> None:
    pins = locked.folder / PINS_FILE
    damaged = pins.read_text(encoding="utf-8").replace(f'sha256 = "{"e" * 64}"', 'sha256 = "../../../evil.deb"', 1)
    pins.write_text(damaged, encoding="utf-8")
    with pytest.raises(
        LockError, match=r"sha256: found '\.\./\.\./\.\./evil\.deb', .*\n.*git checkout containers/pins\.toml"
    ):
        lock_update.update(locked, selection.select(["images"]))
    assert pins.read_text(encoding="utf-8") == damaged


@pytest.mark.parametrize("kind", ["archives", "os"])
def test_the_epoch_is_now_when_a_package_moved(locked: Catalogue, fake_apt: FakeApt, kind: str) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.update(locked, selection.select([kind]))
    pins = load_pins(locked.folder)
    assert pins.epoch == NOW
    version = "3.5-5" if kind == "archives" else "3.5-4"
    assert {pin.version for pin in pins.programs.values()} == {version}


def moments(catalogue: Catalogue) -> set[str]:
    """Return what locks and pins say of when they were made."""
    pins = {pin.locked for pin in load_pins(catalogue.folder).programs.values() if isinstance(pin, PackagePin)}
    return pins | {os_lock.locked_at(lock, catalogue.folder) for lock in selection.os_locks(catalogue)}


def test_what_did_not_move_keeps_the_time_when_it_was_locked(locked: Catalogue) -> None:
    before = {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()}
    lock_update.update(locked, selection.select(["archives", "os"]))
    assert {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()} == before
    assert moments(locked) == {"20231114T221320Z"}


def test_what_moved_states_the_time(locked: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.update(locked, selection.select(["archives", "os"]))
    assert moments(locked) == {"20270115T080000Z"}


def test_locks_that_never_stated_a_time_get_one_and_nothing_else_moves(locked: Catalogue) -> None:
    for lock in selection.os_locks(locked):
        write_lock(lock, locked.folder, os_lock.read(lock, locked.folder))
    pins = locked.folder / PINS_FILE
    lines = pins.read_text(encoding="utf-8").splitlines(keepends=True)
    pins.write_text("".join(line for line in lines if not line.startswith("locked")), encoding="utf-8")
    lock_update.update(locked, selection.select(["archives", "os"]))
    assert moments(locked) == {"20270115T080000Z"}
    assert load_pins(locked.folder).epoch == THEN


def test_what_moved_is_reported_with_its_locks(locked: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(BASH, NEWER)
    result = lock_update.update(locked, selection.select(["archives", "os"]))
    assert result.text.splitlines() == [
        "| kind     | name        | from  | to    | download | locks                                     |",
        "| -------- | ----------- | ----- | ----- | -------- | ----------------------------------------- |",
        "| archives | etcd        | 3.5-4 | 3.5-5 | 0        | debian-programs-{amd64,arm64}             |",
        "| os       | etcd-server | 3.5-4 | 3.5-5 | 0        | os-debian-{builder,runtime}-{amd64,arm64} |",
        "",
        "- debian-programs-{amd64,arm64}, os-debian-{builder,runtime}-{amd64,arm64}: 0 to download",
    ]


def test_kinds_that_were_not_asked_for_stay(locked: Catalogue, fake_apt: FakeApt) -> None:
    before = {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()}
    fake_apt.would_install(BASH, NEWER)
    lock_update.update(locked, selection.select(["archives"]))
    assert {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()} == before


def versions(catalogue: Catalogue) -> dict[Platform, str]:
    """Return the pinned version of etcd for each platform."""
    return {platform: pin.version for (_, _, platform), pin in load_pins(catalogue.folder).programs.items()}


def lock_files(catalogue: Catalogue) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (catalogue.folder / "constraints").iterdir()}


@pytest.mark.parametrize(
    "options",
    [{"platforms": ["linux/amd64"]}, {"images": ["small"]}],
    ids=["a platform", "an image that is made for it alone"],
)
def test_the_programs_of_other_platforms_keep_their_pins(
    locked: Catalogue, fake_apt: FakeApt, options: dict[str, list[str]]
) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.update(locked, selection.select(["archives"], **options))
    assert versions(locked) == {Platform.AMD64: "3.5-5", Platform.ARM64: "3.5-4"}


def test_the_os_packages_of_other_platforms_keep_their_locks(locked: Catalogue, fake_apt: FakeApt) -> None:
    before = lock_files(locked)
    fake_apt.would_install(BASH, NEWER)
    lock_update.update(locked, selection.select(["os"], platforms=["linux/arm64"]))
    moved = {name for name, text in lock_files(locked).items() if text != before[name]}
    assert moved == {"os-debian-builder-arm64.txt", "os-debian-runtime-arm64.txt"}


@pytest.mark.parametrize("kind", ["os", "archives"])
def test_what_moved_for_one_platform_makes_the_root_images_of_all_anew(
    locked: Catalogue, fake_apt: FakeApt, kind: str
) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.update(locked, selection.select([kind], platforms=["linux/arm64"]))
    pins = load_pins(locked.folder)
    assert pins.epoch == NOW
    assert {key: set(root.platforms) for key, root in pins.roots.items()} == {
        ("debian", "builder"): set(Platform),
        ("debian", "runtime"): set(Platform),
    }


def test_a_root_image_of_one_platform_is_pinned_with_the_others(locked: Catalogue) -> None:
    before = (locked.folder / PINS_FILE).read_bytes()
    lock_update.update(locked, selection.select(["images"], platforms=["linux/arm64"]))
    assert (locked.folder / PINS_FILE).read_bytes() == before


def test_a_stale_lock_of_the_rest_is_refused_before_anything_is_written(locked: Catalogue, fake_apt: FakeApt) -> None:
    (locked.folder / "constraints/os-debian-runtime-amd64.txt").unlink()
    before, pins = lock_files(locked), (locked.folder / PINS_FILE).read_bytes()
    fake_apt.would_install(BASH, NEWER)
    for kind in ("os", "archives"):
        with pytest.raises(LockError, match=r"^constraints/os-debian-runtime-amd64\.txt is missing"):
            lock_update.update(locked, selection.select([kind], platforms=["linux/arm64"]))
    assert (lock_files(locked), (locked.folder / PINS_FILE).read_bytes()) == (before, pins)


def checkout_files(catalogue: Catalogue) -> dict[str, bytes]:
    """Return the locks and pins, and whatever else is beside them."""
    folders = (catalogue.folder / "constraints", catalogue.folder / "containers")
    return {file.name: file.read_bytes() for folder in folders for file in folder.iterdir()}


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def fail(*_: object, **__: object) -> None:
    message = "pip-compile could not resolve constraints/vllm-debian-amd64.txt"
    raise LockError(message)


def test_an_interrupted_update_changes_nothing_at_all(
    locked: Catalogue, fake_apt: FakeApt, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkout_files(locked)
    fake_apt.would_install(BASH, NEWER)
    with monkeypatch.context() as patch:
        patch.setattr(root_images, "ensure_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lock_update.update(locked, selection.select(["os", "archives"]))
    assert checkout_files(locked) == before
    lock_update.update(locked, selection.select(["os", "archives"]))
    assert load_pins(locked.folder).epoch == NOW
    assert set(load_pins(locked.folder).roots) == {("debian", "builder"), ("debian", "runtime")}


def test_a_kind_that_fails_leaves_the_kinds_before_it_as_they_were_and_says_so(
    locked: Catalogue, fake_apt: FakeApt, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkout_files(locked)
    fake_apt.would_install(BASH, NEWER)
    monkeypatch.setattr(on_image, "update_locks", fail)
    with pytest.raises(LockError) as caught:
        lock_update.update(locked, selection.select(["os", "archives", "images"]))
    assert str(caught.value).splitlines() == [
        "pip-compile could not resolve constraints/vllm-debian-amd64.txt",
        "Nothing was written: this command changed no lock and no pin.",
    ]
    assert checkout_files(locked) == before


def test_the_check_of_os_packages_sees_a_missing_pin_of_a_root_image_that_they_make(locked: Catalogue) -> None:
    for kinds in (["os"], ["images"], ["os", "images"]):
        assert lock_check.check(load_catalogue(locked.folder), selection.select(kinds)).exit_code == 0
    pins = load_pins(locked.folder)
    roots = {key: root for key, root in pins.roots.items() if key != ("debian", "runtime")}
    (locked.folder / PINS_FILE).write_text(render(replace(pins, roots=roots)), encoding="utf-8")
    for kinds in (["os"], ["images"], ["os", "images"]):
        result = lock_check.check(load_catalogue(locked.folder), selection.select(kinds))
        assert result.exit_code == 4
        assert result.text.count("has no roots.debian.runtime for linux/amd64") == 1


def test_a_lock_that_changes_while_the_command_runs_is_not_overwritten(
    locked: Catalogue, fake_apt: FakeApt, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt.would_install(BASH, NEWER)
    other = locked.folder / "constraints/os-debian-builder-amd64.txt"
    real = root_images.ensure_all

    def ensure_all(*arguments: Any) -> Any:  # noqa: ANN401 - passed on
        other.write_text("# of another branch\n", encoding="utf-8")
        return real(*arguments)

    monkeypatch.setattr(root_images, "ensure_all", ensure_all)
    pins = (locked.folder / PINS_FILE).read_bytes()
    with pytest.raises(BusyError, match=r"^Changed by something else .*: constraints/os-debian-builder-amd64\.txt\.\n"):
        lock_update.update(locked, selection.select(["os"]))
    assert other.read_text(encoding="utf-8") == "# of another branch\n"
    assert (locked.folder / PINS_FILE).read_bytes() == pins


def test_an_unreachable_input_does_not_keep_the_others_from_being_written(
    locked: Catalogue, fake_apt: FakeApt, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt.would_install(BASH, NEWER)
    row = UnreachableInput(name="constraints/os-x.txt", reason="no such host", pinned="as it was")
    monkeypatch.setattr(on_image, "update_locks", lambda *_, **__: ((), (row,)))
    result = lock_update.update(locked, selection.select(["os"]))
    assert result.exit_code == 10
    assert load_pins(locked.folder).epoch == NOW


def test_pins_of_what_the_data_no_longer_names_are_dropped_with_their_kind(locked: Catalogue) -> None:
    debian = locked.bases["debian"]
    fewer = replace(debian, programs={}, roots={"builder": debian.roots["builder"]})
    catalogue = replace(locked, bases={"debian": fewer})
    lock_update.update(catalogue, selection.select(["images"]))
    assert set(load_pins(locked.folder).roots) == {("debian", "builder")}
    assert load_pins(locked.folder).programs
    lock_update.update(catalogue, selection.select(["archives"]))
    assert load_pins(locked.folder).programs == {}


NO_CHANGES = lock_update.LockUpdate(
    warnings=(), kinds=tuple(LockKind), moves=(), notes=(), unshared=(), unknown_sizes=(), unreachable=(), files=()
)


def test_suspicious_content_that_nobody_accepted_ends_the_report_with_exit_code_4() -> None:
    result = lock_update.update_result(replace(NO_CHANGES, refused=("toy==2: toy.pth runs at each start of Python",)))
    assert result.exit_code == 4
    assert "toy==2: toy.pth runs at each start of Python" in result.text


def test_unreachable_inputs_end_the_report_with_exit_code_10() -> None:
    row = UnreachableInput(
        name="roots.cuda.devel", address="nvcr.io/cuda:1", reason="no such host", pinned="not locked"
    )
    result = lock_update.update_result(replace(NO_CHANGES, unreachable=(row,)))
    assert result.exit_code == 10
    assert result.text.startswith("Nothing moved.\n\n")
    (line,) = [line for line in result.text.splitlines() if "roots.cuda.devel" in line]
    assert line.split(maxsplit=3) == ["roots.cuda.devel", "nvcr.io/cuda:1", "not", "locked  no such host"]


def test_the_data_of_an_update_are_valid_json() -> None:
    move = Move(kind=LockKind.OS, name="bash", old=None, new="5.2", lock="os-debian-dev-amd64", size_change=None)
    row = UnreachableInput(
        name="roots.cuda.devel", address="nvcr.io/cuda:1", reason="no such host", pinned="not locked"
    )
    unshared = UnsharedPackage(name="torch", versions=(("vllm-debian-amd64", "2.11.0", "vllm==1"),))
    changes = replace(NO_CHANGES, moves=(move,), unreachable=(row,), unshared=(unshared,))
    values = json.loads(lock_update.update_result(changes).json())
    assert values["moves"] == [
        {
            "kind": "os",
            "name": "bash",
            "old": None,
            "new": "5.2",
            "lock": "os-debian-dev-amd64",
            "size_change": None,
        }
    ]
    assert values["kinds"] == ["archives", "os", "images", "python", "contents"]
    assert values["unshared"] == [{"name": "torch", "versions": [["vllm-debian-amd64", "2.11.0", "vllm==1"]]}]
    assert msgspec.json.schema(lock_update.LockUpdate)["$defs"]["LockUpdate"]["required"]


def test_the_files_that_changed_are_in_the_data(locked: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(BASH, NEWER)
    result = lock_update.update(locked, selection.select(["os"], platforms=["linux/arm64"]))
    assert isinstance(result.data, lock_update.LockUpdate)
    assert result.data.files == (
        "constraints/os-debian-builder-arm64.txt",
        "constraints/os-debian-runtime-arm64.txt",
        "containers/pins.toml",
    )
    again = lock_update.update(locked, selection.select(["os"], platforms=["linux/arm64"]))
    assert isinstance(again.data, lock_update.LockUpdate)
    assert again.data.files == ()
