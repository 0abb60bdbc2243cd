"""RPMs on root images of registries: where they come from, what dnf is asked and answers, where they are fetched."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import engine, process
from dynamo_containers.docker_cli import Docker
from dynamo_containers.errors import DownloadError, FatalError, LockError, UnreachableError, UsageError
from dynamo_containers.facts import image_reference, mirrors
from dynamo_containers.facts.catalogue import IMAGES_FILE, load_catalogue
from dynamo_containers.facts.locks import os_conflicts, os_lock
from dynamo_containers.facts.locks.os_package import Package
from dynamo_containers.facts.mirrors import Mirrors
from dynamo_containers.facts.pins import load_pins
from dynamo_containers.lock import selection
from dynamo_containers.lock.os import image_status, on_image, rpm
from dynamo_containers.lock.os.image_status import ImageQuery
from dynamo_containers.lock.os.write import write_lock
from dynamo_containers.platforms import Platform
from dynamo_containers.prepare import build_secrets, os_packages
from dynamo_containers.upstream import deb_origins, registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.facts.locks.os_lock import OsLock

ADDRESS = "https://repo.almalinux.org/almalinux"
IMAGE = "quay.io/pypa/manylinux_2_28_aarch64:2026.08.15-1"
KEYS = "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux"
CLANG = {
    "name": "clang-devel",
    "evr": "20.1.8-1.module_el8.10.0",
    "architecture": "aarch64",
    "repository": "8/AppStream/aarch64/os",
    "path": "Packages/clang-devel-20.1.8-1.module_el8.10.0.aarch64.rpm",
    "size": 1000,
    "sha256": "a" * 64,
}
LOCKED = Package(
    name="clang-devel",
    version="20.1.8-1.module_el8.10.0",
    architecture="aarch64",
    archive="almalinux",
    path="8/AppStream/aarch64/os/Packages/clang-devel-20.1.8-1.module_el8.10.0.aarch64.rpm",
    size=1000,
    sha256="a" * 64,
)


@pytest.fixture
def own(own_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Return a copy of this project's data, on a machine without mirrors and certificates of its own."""
    monkeypatch.setattr(mirrors, "configured", Mirrors)
    monkeypatch.setattr(build_secrets, "secrets", lambda *_: ("id=ca,src=/ca.pem", "id=netrc,src=/netrc"))
    return load_catalogue(own_checkout)


def lock_of(catalogue: Catalogue, name: str = "rust", platform: Platform = Platform.ARM64) -> OsLock:
    return os_lock.lock_of(catalogue.bases["cuda"], name, platform)


def both(catalogue: Catalogue) -> tuple[OsLock, ...]:
    return lock_of(catalogue), lock_of(catalogue, "cxx")


def answering(monkeypatch: pytest.MonkeyPatch, answer: Mapping[str, Any]) -> list[tuple[OsLock, ImageQuery]]:
    """Let the image's dnf answer so; return who was asked what."""
    queries = []

    def run_query(_: Path, lock: OsLock, query: ImageQuery, output: Path) -> None:
        queries.append((lock, query))
        (output / rpm.ANSWER_FILE).write_text(json.dumps(answer), encoding="utf-8")

    monkeypatch.setattr(image_status, "run_query", run_query)
    return queries


# What there is


def test_each_set_on_the_builder_has_a_lock_for_each_platform(own: Catalogue) -> None:
    files = {lock.file for lock in selection.os_locks(own) if lock.repositories}
    assert files == {
        f"constraints/os-cuda-{name}-{arch}.txt" for name in ("cxx", "rust") for arch in ("amd64", "arm64")
    }


def test_the_image_its_repositories_and_the_set_decide_the_lock(own: Catalogue) -> None:
    lock, bases = lock_of(own), own.bases["cuda"]
    root = bases.registry_roots["builder"]
    assert root.repositories is not None
    others = (
        replace(root, image="quay.io/pypa/manylinux_2_28_{machine}:next"),
        replace(root, repositories=replace(root.repositories, address="https://example.org/almalinux")),
        replace(root, repositories=replace(root.repositories, paths=("8/BaseOS/{machine}/os",))),
    )
    for other in others:
        moved = replace(bases, roots={**bases.roots, "builder": other})
        assert replace(lock, bases=moved).inputs != lock.inputs
    more = replace(bases.packages["rust"], packages=("cargo",))
    assert replace(lock, bases=replace(bases, packages={**bases.packages, "rust": more})).inputs != lock.inputs
    assert lock_of(own, "cxx").inputs != lock.inputs


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f'address = "{ADDRESS}"', 'address = "repo.almalinux.org"', "builder.repositories.address"),
        ('"8/BaseOS/{machine}/os"', '"8/BaseOS/x86_64/os"', "a relative path with {machine} in it"),
        (f'keyring = "{KEYS}"', 'keyring = "RPM-GPG-KEY"', "builder.repositories.keyring"),
        (f'address = "{ADDRESS}"', f'address = "{ADDRESS}"\nlist = "x"', "builder.repositories.list"),
    ],
)
def test_a_row_of_repositories_that_nobody_could_ask_is_refused_by_name(
    own: Catalogue, old: str, new: str, message: str
) -> None:
    file = own.folder / IMAGES_FILE
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_catalogue(own.folder)
    assert message in str(caught.value)


# What dnf is asked


def test_dnf_is_told_the_repositories_of_the_platform_the_keys_and_all_sets(own: Catalogue) -> None:
    assert rpm.dnf_query(both(own), str.upper) == {
        "keyring": KEYS,
        "repositories": {
            f"8/{name}/aarch64/os": f"{ADDRESS}/8/{name}/aarch64/os".upper()
            for name in ("BaseOS", "AppStream", "PowerTools")
        },
        "sets": {
            "constraints/os-cuda-rust-arm64.txt": list(own.bases["cuda"].packages["rust"].packages),
            "constraints/os-cuda-cxx-arm64.txt": list(own.bases["cuda"].packages["cxx"].packages),
        },
    }


def test_the_repositories_are_read_at_the_mirror_and_the_lock_has_none_of_it(
    own: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Mirrors(addresses={f"{ADDRESS}/": "https://mirror.example/alma/"})
    monkeypatch.setattr(mirrors, "configured", lambda: table)
    ((_, question),) = (
        answering(monkeypatch, {"sets": {lock_of(own).file: [CLANG]}}),
        on_image.update_locks(own.folder, [lock_of(own)], own.pins, staged=own.folder),
    )[0]
    dnf_query = json.loads((own.folder / ".build/os-resolved/cuda-builder-arm64/wish.json").read_text(encoding="utf-8"))
    assert question.contexts == {"wish": str(own.folder / ".build/os-resolved/cuda-builder-arm64")}
    assert dnf_query["repositories"]["8/BaseOS/aarch64/os"] == "https://mirror.example/alma/8/BaseOS/aarch64/os"
    assert "mirror.example" not in (own.folder / lock_of(own).file).read_text(encoding="utf-8")


def test_the_image_is_asked_by_digest_anew_each_time_with_the_certificates_of_the_machine(
    own: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queries = answering(monkeypatch, {"sets": {lock.file: [] for lock in both(own)}})
    rpm.resolve(own.folder, both(own), own.pins)
    ((lock, question),) = queries  # once for all sets
    digest = own.pins.roots["cuda", "builder"].platforms[Platform.ARM64]
    assert question.image == f"quay.io/pypa/manylinux_2_28_aarch64@{digest}"
    plan = image_status.query_plan(own.folder, lock, question, tmp_path, Docker(environment={}, buildx=("buildx",)))
    document, policy = (json.loads(file.text) for file in plan.documents)
    target = document["target"]["default"]
    assert target["context"] == str(own.folder / "containers/os-resolved")
    assert target["no-cache"]
    assert target["secret"] == ["id=ca,src=/ca.pem"]  # no password of an index is of use to dnf
    assert target["platforms"] == ["linux/arm64"]
    assert [rule["action"] for rule in policy["rules"]] == ["DENY", "ALLOW", "ALLOW"]
    (command,) = plan.commands
    assert "--allow=fs.read=/ca.pem" in command.argv
    assert f"--allow=fs.write={tmp_path}" in command.argv


@pytest.mark.parametrize(("platform", "emulated"), [(Platform.ARM64, [(Platform.ARM64,)]), (Platform.AMD64, [])])
def test_a_foreign_image_is_asked_under_emulation(
    own: Catalogue, monkeypatch: pytest.MonkeyPatch, platform: Platform, emulated: list[tuple[Platform, ...]]
) -> None:
    emulated_platforms: list[tuple[Platform, ...]] = []
    monkeypatch.setattr(image_status, "native_platform", lambda: Platform.AMD64)
    monkeypatch.setattr(registry, "inspect", lambda *_: "there")
    monkeypatch.setattr(engine, "client_buildx", lambda _: ("buildx",))
    monkeypatch.setattr(engine, "docker", lambda _: Docker(environment={}, buildx=("buildx",)))
    monkeypatch.setattr(engine, "emulate", lambda _, platforms: emulated_platforms.append(platforms))
    monkeypatch.setattr(process, "execute", lambda _: None)
    lock = lock_of(own, platform=platform)
    image = image_status.pinned_reference(lock, own.pins)
    question = ImageQuery(image=image, target="os-resolved", runs_binaries=True, hint="")
    image_status.run_query(own.folder, lock, question, own.folder)
    assert emulated_platforms == emulated


def test_what_asks_dnf_keeps_to_the_syntax_of_the_python_that_almalinux_8_has_it_for(own: Catalogue) -> None:
    script = own.folder / "containers/os-resolved/resolve-rpms"
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/libexec/platform-python\n")
    ast.parse(text, feature_version=(3, 6))
    assert "from __future__ import annotations" not in text  # 3.7 and newer


# What it answers


def test_a_lock_has_what_dnf_would_install_and_states_the_image(
    own: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_of(own)
    answering(monkeypatch, {"sets": {lock.file: [CLANG]}})
    moved, missing = on_image.update_locks(own.folder, [lock], own.pins, staged=own.folder)
    assert (missing, [(move.name, move.new, move.lock) for move in moved]) == (
        (),
        [("clang-devel", "20.1.8-1.module_el8.10.0", "os-cuda-rust-arm64")],
    )
    assert os_lock.read(lock, own.folder) == (LOCKED,)
    assert os_lock.root_digest(lock, own.folder) == image_reference.digest(
        own.pins, lock.bases, "builder", Platform.ARM64
    )
    os_conflicts.check_image(lock, own.folder, load_pins(own.folder))
    before = (own.folder / lock.file).read_bytes()
    assert on_image.update_locks(own.folder, [lock], own.pins, staged=own.folder) == ((), ())
    assert (own.folder / lock.file).read_bytes() == before


@pytest.mark.parametrize(
    ("fault", "reason", "failure"),
    [
        (
            "unreachable",
            "Failed to download metadata for repo '8-BaseOS':\nCannot download repomd.xml: Could not connect\n",
            (None, f"{ADDRESS}: Cannot download repomd.xml: Could not connect"),
        ),
        (
            "unsigned",
            "Package clang is not signed",
            (
                DownloadError,
                (
                    f"{ADDRESS} has packages that are not signed by the keys in {IMAGE} ({KEYS}):\n"
                    "Package clang is not signed"
                ),
            ),
        ),
        (
            "unknown",
            "clang-develop",
            (
                LockError,
                (
                    f"{ADDRESS} does not have these packages for linux/arm64: clang-develop\n"
                    "They are in containers/images.toml: bases.cuda.packages.rust, bases.cuda.packages.cxx."
                ),
            ),
        ),
    ],
)
def test_what_dnf_could_not_do_is_said_in_its_own_kind_and_nothing_is_written(
    own: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    reason: str,
    failure: tuple[type[FatalError] | None, str],
) -> None:
    error, message = failure
    answering(monkeypatch, {"fault": fault, "why": reason})
    if error is None:
        moved, missing = on_image.update_locks(own.folder, both(own), own.pins, staged=own.folder)
        assert moved == ()
        assert {(row.address, row.reason, row.pinned) for row in missing} == {
            (f"{IMAGE}, {ADDRESS}", message, "not locked")
        }
    else:
        with pytest.raises(error) as caught:
            on_image.update_locks(own.folder, both(own), own.pins, staged=own.folder)
        assert str(caught.value) == message
    assert not [lock.file for lock in both(own) if (own.folder / lock.file).exists()]


def test_without_a_registry_every_set_is_named_with_what_it_takes(
    own: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_query(*_: object) -> None:
        message = "quay.io cannot be reached from here"
        raise UnreachableError(message)

    monkeypatch.setattr(image_status, "run_query", run_query)
    _, missing = on_image.update_locks(own.folder, both(own), own.pins, staged=own.folder)
    assert [(row.name, row.address, row.reason) for row in missing] == [
        (lock.file, f"{IMAGE}, {ADDRESS}", "quay.io cannot be reached from here") for lock in both(own)
    ]


def test_a_build_without_the_lock_says_what_it_takes_to_make_it(own: Catalogue) -> None:
    with pytest.raises(LockError) as caught:
        os_lock.read(lock_of(own), own.folder)
    assert str(caught.value) == (
        f"constraints/os-cuda-rust-arm64.txt does not exist. It pins the packages on {IMAGE} "
        "(bases.cuda.packages.rust or bases.cuda.roots.builder in images.toml).\n"
        "Create it with: invoke lock --only os --bases cuda\n"
        f"This needs access to the registry of that image and to {ADDRESS}, or to mirrors of both "
        "(docs/how-to/mirrors.md)."
    )


# Where they are fetched and laid out


def test_an_rpm_is_fetched_from_where_dnf_found_it_and_no_snapshot_of_debs_is_asked(own: Catalogue) -> None:
    bases = lock_of(own).package_sources
    places = deb_origins.url_templates(bases.deb_sources, own.folder)
    assert [deb_origins.url(place, LOCKED, "20261124T180000Z", bases.archives) for place in places] == [
        f"{ADDRESS}/{LOCKED.path}"
    ]
    assert deb_origins.describe_missing(bases.deb_sources) == "The mirror no longer has"


def test_rpms_are_laid_out_by_the_names_of_their_packages_and_nothing_may_be_renewed_by_name(own: Catalogue) -> None:
    lock = lock_of(own)
    rpm = replace(LOCKED, sha256=hashlib.sha256(b"an RPM").hexdigest())
    file = deb_origins.store_path(own.folder, rpm)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"an RPM")
    write_lock(lock, own.folder, (rpm,), "20261124T180000Z", "sha256:1")
    assert os_packages.ensure(own.folder, lock.bases, "rust", Platform.ARM64) == ()
    folder = os_packages.folder_of(own.folder, lock.bases, "rust") / "arm64"
    assert sorted(file.name for file in folder.iterdir()) == ["clang-devel.rpm", "drift"]
    assert (folder / "clang-devel.rpm").read_bytes() == b"an RPM"
