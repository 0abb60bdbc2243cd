"""`invoke lock`: which kinds there are, what --check says, and when pins move."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import LockError, UnreachableError, UsageError
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.locks import os_lock
from dynamo_containers.facts.pins import PINS_FILE, Pin, PinnedRoot, PinnedSource, Pins, ReleasePin, load_pins, render
from dynamo_containers.lock import check as lock_check
from dynamo_containers.lock import selection
from dynamo_containers.lock import update as lock_update
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.platforms import Platform
from dynamo_containers.upstream import apt
from dynamo_containers.upstream.unreachable import Unreached
from tests.unit.conftest import leave_locks_on_images

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


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        pytest.param([], ("archives", "os", "images", "python"), id="no word means all"),
        pytest.param(["python", "os"], ("os", "python"), id="in the order of the stages"),
        pytest.param(["os", "os"], ("os",), id="one twice"),
    ],
)
def test_the_words_for_kinds_of_pin(words: list[str], meant: tuple[str, ...]) -> None:
    assert selection.kinds(words) == meant


def test_an_unknown_kind_names_the_valid_ones() -> None:
    with pytest.raises(UsageError) as caught:
        selection.kinds(["os", "pyhton"])
    assert str(caught.value) == (
        'unknown kind of pin "pyhton" (choose from: archives, os, images, python)\nDid you mean python?'
    )


def test_there_is_a_lock_of_os_packages_for_every_root_image_and_platform(catalogue: Catalogue) -> None:
    assert [each.file for each in selection.os_locks(catalogue)] == [
        "constraints/os-debian-builder-amd64.txt",
        "constraints/os-debian-builder-arm64.txt",
        "constraints/os-debian-runtime-amd64.txt",
        "constraints/os-debian-runtime-arm64.txt",
    ]


def test_pins_are_read_back_as_they_were_written(checkout: Path) -> None:
    pin = Pin(version="1:3.5+b1~x", archive="debian-security", path="pool/e+_1%3a.deb", size=5, sha256="e" * 64)
    release = ReleasePin(version="3.5.21", url="https://example.invalid/etcd.tar.gz", sha256="d" * 64, size=7)
    bare = PinnedRoot(image="nvcr.io/nvidia/cuda:13", index=f"sha256:{'4' * 64}", platforms={})
    split = PinnedRoot(
        image="quay.io/wheels_{machine}:1", index="", platforms=dict.fromkeys(Platform, f"sha256:{'5' * 64}")
    )
    pins = Pins(
        epoch=THEN,
        programs={
            **{("debian", name, platform): pin for name in ("etcd", "nats-server") for platform in Platform},
            ("cuda", "etcd", Platform.AMD64): release,
            ("cuda", "etcd", Platform.ARM64): replace(release, size=0),
        },
        sources={"dynamo": PinnedSource(ref="v1", commit="c" * 40)},
        roots={("cuda", "runtime"): bare, ("cuda", "builder"): split}
        | {
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
    text = (ROOT / PINS_FILE).read_text(encoding="utf-8")
    values = [line for line in text.splitlines() if not line.startswith("#")]
    assert values == [line for line in render(load_catalogue().pins).splitlines() if not line.startswith("#")]


def test_current_locks_are_said_to_be_so(own_checkout: Path) -> None:
    catalogue = load_catalogue(own_checkout)
    leave_locks_on_images(catalogue)
    assert lock_check.check(catalogue, ["os", "images"]) == "Every lock fits what it is made from (os, images)."
    part = selection.Part(images=["frontend", "vllm", "sglang"])
    assert lock_check.check(catalogue, ["python"], part=part) == "Every lock fits what it is made from (python)."


def test_a_lock_that_was_never_made_for_want_of_its_index_is_named_when_all_others_fit(own_checkout: Path) -> None:
    with pytest.raises(UnreachableError, match=r"constraints/trtllm-cuda-arm64\.txt +\S+ +not locked"):
        lock_check.check(load_catalogue(own_checkout))
    with (own_checkout / "requirements/tools.in").open("a", encoding="utf-8") as file:
        file.write("one-more\n")
    with pytest.raises(LockError, match=r"constraints/tools\.txt is stale"):
        lock_check.check(load_catalogue(own_checkout))


def test_the_check_names_everything_that_is_stale_at_once(own_checkout: Path) -> None:
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    with (own_checkout / "requirements/tools.in").open("a", encoding="utf-8") as file:
        file.write("one-more\n")
    pins = own_checkout / PINS_FILE
    pins.write_text(pins.read_text(encoding="utf-8").replace("[programs.debian.etcd.", "[programs.debian.etc."))
    with pytest.raises(LockError) as caught:
        lock_check.check(load_catalogue(own_checkout))
    message = str(caught.value)
    assert "constraints/tools.txt is stale" in message
    assert "constraints/os-debian-runtime-arm64.txt is missing" in message
    assert "containers/pins.toml has no programs.debian.etcd for linux/amd64" in message
    assert message.count("invoke lock") == 4


def test_the_check_of_one_kind_does_not_look_at_others(own_checkout: Path) -> None:
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    assert lock_check.check(load_catalogue(own_checkout), ["images"])


def test_the_check_of_a_part_looks_at_the_locks_of_that_part(own_checkout: Path) -> None:
    (own_checkout / "constraints/frontend-debian-arm64.txt").unlink()
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    catalogue = load_catalogue(own_checkout)
    leave_locks_on_images(catalogue)
    part = selection.Part(images=["frontend"], platforms=["linux/amd64"])
    assert lock_check.check(catalogue, part=part)
    assert lock_check.check(catalogue, ["os", "images"], part=selection.Part(bases=["cuda"]))
    for kind, file in (("python", "frontend-debian-arm64"), ("os", "os-debian-runtime-arm64")):
        with pytest.raises(LockError, match=rf"^constraints/{file}\.txt is missing"):
            lock_check.check(catalogue, [kind], part=selection.Part(images=["frontend"]))


def test_what_moved_is_printed_and_written_as_markdown(
    own_checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = selection.Part(images=["frontend", "vllm"])
    lock_update.publish(
        lock_update.refresh(load_catalogue(own_checkout), ["python"], part=part), str(tmp_path / "report.md")
    )
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
    for number, each in enumerate(selection.os_locks(catalogue)):
        write_lock(each, catalogue.folder, packages, "20231114T221320Z")
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
    lock_update.refresh(catalogue, ["images"])
    return catalogue


def test_root_images_are_pinned_by_their_digests(locked: Catalogue) -> None:
    pins = load_pins(locked.folder)
    assert pins.roots["debian", "builder"].platforms == {
        Platform.AMD64: f"sha256:{0:064}",
        Platform.ARM64: f"sha256:{1:064}",
    }


def test_the_epoch_stays_when_nothing_moved(locked: Catalogue) -> None:
    before = (locked.folder / PINS_FILE).read_bytes()
    lock_update.refresh(locked, ["archives", "os", "images"])
    assert (locked.folder / PINS_FILE).read_bytes() == before
    assert load_pins(locked.folder).epoch == THEN


@pytest.mark.parametrize("kind", ["archives", "os"])
def test_the_epoch_is_now_when_a_package_moved(locked: Catalogue, fake_apt: FakeApt, kind: str) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.refresh(locked, [kind])
    pins = load_pins(locked.folder)
    assert pins.epoch == NOW
    version = "3.5-5" if kind == "archives" else "3.5-4"
    assert {pin.version for pin in pins.programs.values()} == {version}


def moments(catalogue: Catalogue) -> set[str]:
    """Return what locks and pins say of when they were made."""
    pins = {pin.locked for pin in load_pins(catalogue.folder).programs.values() if isinstance(pin, Pin)}
    return pins | {os_lock.moment_of(each, catalogue.folder) for each in selection.os_locks(catalogue)}


def test_what_did_not_move_keeps_the_time_when_it_was_locked(locked: Catalogue) -> None:
    before = {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()}
    lock_update.refresh(locked, ["archives", "os"])
    assert {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()} == before
    assert moments(locked) == {"20231114T221320Z"}


def test_what_moved_states_the_time(locked: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.refresh(locked, ["archives", "os"])
    assert moments(locked) == {"20270115T080000Z"}


def test_locks_that_never_stated_a_time_get_one_and_nothing_else_moves(locked: Catalogue) -> None:
    for each in selection.os_locks(locked):
        write_lock(each, locked.folder, os_lock.read(each, locked.folder))
    pins = locked.folder / PINS_FILE
    lines = pins.read_text(encoding="utf-8").splitlines(keepends=True)
    pins.write_text("".join(line for line in lines if not line.startswith("locked")), encoding="utf-8")
    lock_update.refresh(locked, ["archives", "os"])
    assert moments(locked) == {"20270115T080000Z"}
    assert load_pins(locked.folder).epoch == THEN


def test_what_moved_is_reported_with_its_layers(locked: Catalogue, fake_apt: FakeApt) -> None:
    fake_apt.would_install(BASH, NEWER)
    report = lock_update.refresh(locked, ["archives", "os"])
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
    lock_update.refresh(locked, ["archives"])
    assert {path.name: path.read_bytes() for path in (locked.folder / "constraints").iterdir()} == before


def test_the_platforms_of_bases_are_those_of_its_images_or_all_where_it_has_none(
    catalogue: Catalogue,
) -> None:
    small = replace(catalogue, images={"small": catalogue.images["small"]})
    assert selection.platforms(catalogue, "debian") == (Platform.AMD64, Platform.ARM64)
    assert selection.platforms(small, "debian") == (Platform.AMD64,)
    assert selection.platforms(replace(catalogue, images={}), "debian") == (Platform.AMD64, Platform.ARM64)


def versions(catalogue: Catalogue) -> dict[Platform, str]:
    """Return the pinned version of etcd for each platform."""
    return {platform: pin.version for (_, _, platform), pin in load_pins(catalogue.folder).programs.items()}


def lock_files(catalogue: Catalogue) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (catalogue.folder / "constraints").iterdir()}


@pytest.mark.parametrize(
    "part",
    [selection.Part(platforms=["linux/amd64"]), selection.Part(images=["small"])],
    ids=["a platform", "an image that is made for it alone"],
)
def test_the_programs_of_other_platforms_keep_their_pins(
    locked: Catalogue, fake_apt: FakeApt, part: selection.Part
) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.refresh(locked, ["archives"], part=part)
    assert versions(locked) == {Platform.AMD64: "3.5-5", Platform.ARM64: "3.5-4"}


def test_the_os_packages_of_other_platforms_keep_their_locks(locked: Catalogue, fake_apt: FakeApt) -> None:
    before = lock_files(locked)
    fake_apt.would_install(BASH, NEWER)
    lock_update.refresh(locked, ["os"], part=selection.Part(platforms=["linux/arm64"]))
    moved = {name for name, text in lock_files(locked).items() if text != before[name]}
    assert moved == {"os-debian-builder-arm64.txt", "os-debian-runtime-arm64.txt"}


@pytest.mark.parametrize("kind", ["os", "archives"])
def test_what_moved_for_one_platform_makes_the_root_images_of_all_anew(
    locked: Catalogue, fake_apt: FakeApt, kind: str
) -> None:
    fake_apt.would_install(BASH, NEWER)
    lock_update.refresh(locked, [kind], part=selection.Part(platforms=["linux/arm64"]))
    pins = load_pins(locked.folder)
    assert pins.epoch == NOW
    assert {key: set(root.platforms) for key, root in pins.roots.items()} == {
        ("debian", "builder"): set(Platform),
        ("debian", "runtime"): set(Platform),
    }


def test_a_root_image_of_one_platform_is_pinned_with_the_others(locked: Catalogue) -> None:
    before = (locked.folder / PINS_FILE).read_bytes()
    lock_update.refresh(locked, ["images"], part=selection.Part(platforms=["linux/arm64"]))
    assert (locked.folder / PINS_FILE).read_bytes() == before


def test_a_stale_lock_of_the_rest_is_refused_before_anything_is_written(locked: Catalogue, fake_apt: FakeApt) -> None:
    (locked.folder / "constraints/os-debian-runtime-amd64.txt").unlink()
    before, pins = lock_files(locked), (locked.folder / PINS_FILE).read_bytes()
    fake_apt.would_install(BASH, NEWER)
    for kind in ("os", "archives"):
        with pytest.raises(LockError, match=r"^constraints/os-debian-runtime-amd64\.txt is missing"):
            lock_update.refresh(locked, [kind], part=selection.Part(platforms=["linux/arm64"]))
    assert (lock_files(locked), (locked.folder / PINS_FILE).read_bytes()) == (before, pins)


def test_interrupted_root_images_are_not_pinned_at_all_and_the_next_run_makes_them(
    locked: Catalogue, fake_apt: FakeApt, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt.would_install(BASH, NEWER)
    with monkeypatch.context() as patch:
        patch.setattr(os_lock, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock_update.refresh(locked, ["os", "archives"])
    assert load_pins(locked.folder).epoch == NOW
    assert load_pins(locked.folder).roots == {}
    lock_update.refresh(locked, ["images"])
    assert set(load_pins(locked.folder).roots) == {("debian", "builder"), ("debian", "runtime")}


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_pins_of_what_the_data_no_longer_names_are_dropped_with_their_kind(locked: Catalogue) -> None:
    (fewer,) = (replace(each, programs={}, roots={"builder": each.roots["builder"]}) for each in locked.bases.values())
    catalogue = replace(locked, bases={"debian": fewer})
    lock_update.refresh(catalogue, ["images"])
    assert set(load_pins(locked.folder).roots) == {("debian", "builder")}
    assert load_pins(locked.folder).programs
    lock_update.refresh(catalogue, ["archives"])
    assert load_pins(locked.folder).programs == {}


@pytest.mark.parametrize(
    ("part", "meant"),
    [
        pytest.param(selection.Part(), ["debian amd64", "debian arm64", "other amd64", "other arm64"], id="all"),
        pytest.param(selection.Part(bases=["other"]), ["other amd64", "other arm64"], id="bases"),
        pytest.param(selection.Part(platforms=["linux/arm64"]), ["debian arm64", "other arm64"], id="platform"),
        pytest.param(selection.Part(images=["small"]), ["debian amd64"], id="image"),
        pytest.param(selection.Part(images=["small", "base"]), ["debian amd64", "debian arm64"], id="images"),
        pytest.param(selection.Part(images=["base"], platforms=["all"]), ["debian amd64", "debian arm64"], id="both"),
    ],
)
def test_the_bases_and_platforms_that_words_mean(catalogue: Catalogue, part: selection.Part, meant: list[str]) -> None:
    more = replace(catalogue, bases={**catalogue.bases, "other": replace(catalogue.bases["debian"], name="other")})
    assert sorted(f"{bases.name} {platform.arch}" for bases, platform in part.targets(more)) == meant


@pytest.mark.parametrize(
    "part",
    [
        selection.Part(images=["small"], platforms=["linux/arm64"]),
        selection.Part(images=["small"], bases=["other"]),
    ],
    ids=["another platform", "other bases"],
)
def test_words_that_no_image_fits_together_are_refused(catalogue: Catalogue, part: selection.Part) -> None:
    more = replace(catalogue, bases={**catalogue.bases, "other": replace(catalogue.bases["debian"], name="other")})
    with pytest.raises(UsageError, match="so there is nothing to lock"):
        part.targets(more)


def test_sources_that_were_never_locked_are_named_when_all_else_fits(own_checkout: Path) -> None:
    catalogue = load_catalogue(own_checkout)
    with pytest.raises(UnreachableError) as caught:
        lock_check.check(catalogue, ["archives"])
    assert caught.value.exit_code == 10
    rows = [line.split()[0] for line in str(caught.value).splitlines() if "not locked" in line]
    assert rows == ["sources.dynamo", "sources.nixl", "sources.ucx"]
    assert lock_check.check(catalogue, ["archives"], part=selection.Part(bases=["debian"]))
    (own_checkout / "constraints/os-debian-runtime-arm64.txt").unlink()
    with pytest.raises(LockError):
        lock_check.check(catalogue)


def test_a_source_that_is_pinned_to_another_name_is_stale(own_checkout: Path) -> None:
    with (own_checkout / PINS_FILE).open("a", encoding="utf-8") as file:
        file.write(f'\n[sources.dynamo]\nref = "v1.4.1"\ncommit = "{"c" * 40}"\n')
    with pytest.raises(LockError) as caught:
        lock_check.check(load_catalogue(own_checkout), ["archives"])
    assert str(caught.value) == (
        "containers/pins.toml is stale: it has sources.dynamo of v1.4.1, and containers/images.toml names v1.4.2.\n"
        "Pin it with: invoke lock --only archives"
    )


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        pytest.param(
            'version = "3.5.21"',
            'version = "3.5.22"',
            "archives",
            "programs.cuda.etcd for linux/arm64 of ",
            id="version",
        ),
        pytest.param("13.0.2-runtime", "13.0.3-runtime", "images", "roots.cuda.runtime of nvcr.io", id="tag"),
    ],
)
def test_a_pin_of_another_version_or_tag_than_the_data_names_is_stale(
    own_checkout: Path, old: str, new: str, kind: str, message: str
) -> None:
    images = own_checkout / IMAGES_FILE
    images.write_text(images.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(LockError) as caught:
        lock_check.check(load_catalogue(own_checkout), [kind])
    assert f"containers/pins.toml is stale: it has {message}" in str(caught.value)
    assert f"invoke lock --only {kind}" in str(caught.value)


def test_what_could_not_be_asked_ends_the_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    row = Unreached(what="roots.cuda.devel", asked="nvcr.io/cuda:1", why="no such host", kept="not locked")
    report = lock_update.Report(terminal="Nothing moved.", markdown="Nothing moved.", unreachable=(row,))
    with pytest.raises(UnreachableError) as caught:
        lock_update.publish(report, str(tmp_path / "report.md"))
    assert capsys.readouterr().out == "Nothing moved.\n"
    assert (tmp_path / "report.md").is_file()
    assert str(caught.value) == (
        "Could not be asked, so what it pins was not refreshed:\n"
        "  what              asked           stays       why\n"
        "  roots.cuda.devel  nvcr.io/cuda:1  not locked  no such host\n"
        "Everything else was done. Where these can be reached, run again: invoke lock\n"
        "In a closed network, name mirrors of them: docs/how-to/mirrors.md"
    )
