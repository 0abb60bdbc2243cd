"""`invoke diff`: the text for two images and for two states of the locks, and which is meant by a word."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from dynamo_containers.errors import LockError, NoEngineError, UsageError
from dynamo_containers.inspect import diff as image_diff
from dynamo_containers.inspect import diff_inputs
from dynamo_containers.inspect.diff import Difference, ImageContents, LockContents, PackageMove, ValueChange
from dynamo_containers.inspect.in_container import packages as packages_inside
from dynamo_containers.inspect.sizes import cache as size_cache
from dynamo_containers.inspect.sizes.manifest import ImageSize, MeasuredLayer
from tests.unit.planned import DOCKER

if TYPE_CHECKING:
    from pathlib import Path


def layer(name: str, digest: str, size: int) -> MeasuredLayer:
    return MeasuredLayer(name=name, digest=digest, content=digest, packed=0, unpacked=size)


OLD = ImageContents(
    title="frontend:1",
    packages={"Python": {"aiohttp": "3.14.4", "numpy": "2.4.6"}, "OS": {"bash": "5.2"}},
    size=ImageSize(layers=(layer("mmdebstrap", "a", 80_000_000), layer("COPY /tree /", "b", 5_000_000))),
    settings={
        "Environment": {"PATH": "/usr/bin", "LANG": "C"},
        "Start": {"user": "1000:0", "command": '["bash"]'},
        "Labels": {"ai.dynamo.stage": "runtime"},
    },
)
NEW = ImageContents(
    title="frontend:2",
    packages={"Python": {"aiohttp": "3.14.5", "zstandard": "0.25.0"}, "OS": {"bash": "5.2"}},
    size=ImageSize(layers=(layer("mmdebstrap", "a", 80_000_000), layer("COPY /tree /", "c", 7_500_000))),
    settings={
        "Environment": {"PATH": "/usr/bin", "LANG": "C.UTF-8"},
        "Start": {"user": "0:0", "command": '["bash"]'},
        "Labels": {"ai.dynamo.stage": "runtime"},
    },
)
DIFFERENCE = """\
# frontend:1 -> frontend:2

## Python packages: 1 added, 1 removed, 1 moved

| package   | from   | to     |
| --------- | ------ | ------ |
| aiohttp   | 3.14.4 | 3.14.5 |
| numpy     | 2.4.6  | -      |
| zstandard | -      | 0.25.0 |

## Layers: 85.0 MB -> 87.5 MB (+2.5 MB), uncompressed

| layer              | from   | to     |
| ------------------ | ------ | ------ |
| COPY /tree /       | 5.0 MB | -      |
| COPY /tree /       | -      | 7.5 MB |
| 1 in both, 80.0 MB |        |        |

## Environment

|      | from | to      |
| ---- | ---- | ------- |
| LANG | C    | C.UTF-8 |

## Start

|      | from   | to  |
| ---- | ------ | --- |
| user | 1000:0 | 0:0 |"""


def test_each_kind_of_difference_between_two_images_has_a_section() -> None:
    assert image_diff.text(image_diff.of_images(OLD, NEW)) == DIFFERENCE


def test_the_data_of_a_difference_are_moves_by_kind_layers_and_settings() -> None:
    difference = image_diff.of_images(OLD, NEW)
    assert msgspec.json.decode(msgspec.json.encode(difference), type=Difference) == difference
    assert difference.packages[1] == PackageMove(kind="Python", name="numpy", before="2.4.6", after=None)
    assert difference.layers is not None
    assert (difference.layers.shared_layers, difference.layers.shared_bytes) == (1, 80_000_000)
    assert difference.settings[1] == ValueChange(section="Start", name="user", before="1000:0", after="0:0")
    schema = msgspec.json.schema(Difference)
    assert all("description" in definition for definition in schema["$defs"].values())


def test_an_image_and_itself_do_not_differ() -> None:
    assert image_diff.text(image_diff.of_images(OLD, OLD)) == "# frontend:1 -> frontend:1\n\nNo differences."


def test_layers_that_cannot_be_compared_are_not_called_equal() -> None:
    foreign = ImageContents(title="x", packages={}, size=None, settings={})
    assert image_diff.text(image_diff.of_images(foreign, foreign)) == (
        "# x -> x\n\n## Layers\n\nNOT COMPARED: the history of an image does not have one line for each layer."
    )


def test_a_long_table_is_cut_and_says_by_how_much() -> None:
    many = ImageContents(
        title="y", packages={"OS": {f"p{number:03}": "1" for number in range(103)}}, size=OLD.size, settings={}
    )
    none = ImageContents(title="x", packages={}, size=OLD.size, settings={})
    lines = image_diff.text(image_diff.of_images(none, many)).splitlines()
    assert lines[-2:] == ["| p099    | -    | 1  |", "... and 3 more"]


def test_a_move_in_several_locks_is_one_row_and_pins_are_named() -> None:
    lock = "constraints/vllm-debian-{}.txt"
    before = LockContents(
        title="v1",
        packages={lock.format(arch): {"torch": "2.10.0"} for arch in ("amd64", "arm64")},
        sizes={lock.format(arch): {"torch==2.10.0": 1_000_000} for arch in ("amd64", "arm64")},
        pins={"epoch": "1"},
    )
    after = LockContents(
        title="v2",
        packages={**{lock.format(arch): {"torch": "2.11.0"} for arch in ("amd64", "arm64")}, "constraints/new.txt": {}},
        sizes={lock.format(arch): {"torch==2.11.0": 1_500_000} for arch in ("amd64", "arm64")},
        pins={"epoch": "2"},
    )
    assert image_diff.text(image_diff.of_locks(before, after)) == (
        "# v1 -> v2\n\n"
        "## Packages: 0 added, 0 removed, 1 moved\n\n"
        "| kind   | name  | from   | to     | download | locks                     |\n"
        "| ------ | ----- | ------ | ------ | -------- | ------------------------- |\n"
        "| python | torch | 2.10.0 | 2.11.0 | +0.50 MB | vllm-debian-{amd64,arm64} |\n\n"
        "## New locks\n\n"
        "constraints/new.txt\n\n"
        "## containers/pins.toml\n\n"
        "|       | from | to |\n"
        "| ----- | ---- | -- |\n"
        "| epoch | 1    | 2  |"
    )


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(("git", "-C", str(folder), *identity, *arguments), check=True, capture_output=True)


PYTHON = f"numpy==2.4.6 --hash=sha256:{'0' * 64}\n"
SYSTEM = f"# inputs\nbash 5.2 amd64 debian pool/bash.deb 1000000 sha256:{'0' * 64}\n"


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """Return a checkout with a commit `v1`, after which both of its locks moved."""
    (tmp_path / "constraints").mkdir()
    python, system = tmp_path / "constraints/base-debian-amd64.txt", tmp_path / "constraints/os-debian-dev-amd64.txt"
    python.write_text(PYTHON, encoding="utf-8")
    system.write_text(SYSTEM, encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    git(tmp_path, "tag", "v1")
    python.write_text(PYTHON.replace("2.4.6", "2.5.5"), encoding="utf-8")
    system.write_text(SYSTEM.replace("5.2", "5.3").replace("1000000", "1200000"), encoding="utf-8")
    return tmp_path


def test_all_locks_of_a_revision_are_compared_with_those_of_the_checkout(locked: Path) -> None:
    assert diff_inputs.diff(locked, ("v1", "constraints")).text == (
        "# v1 -> constraints\n\n"
        "## Packages: 0 added, 0 removed, 2 moved\n\n"
        "| kind   | name  | from  | to    | download | locks               |\n"
        "| ------ | ----- | ----- | ----- | -------- | ------------------- |\n"
        "| os     | bash  | 5.2   | 5.3   | +0.20 MB | os-debian-dev-amd64 |\n"
        "| python | numpy | 2.4.6 | 2.5.5 | unknown  | base-debian-amd64   |"
    )


@pytest.mark.parametrize("name", ["v1", "v1:constraints/base-debian-amd64.txt"])
def test_a_single_lock_is_compared_with_itself_at_a_revision(locked: Path, name: str) -> None:
    text = diff_inputs.diff(locked, (name, "constraints/base-debian-amd64.txt")).text
    assert [line for line in text.splitlines() if line.startswith("| ")][2:] == [
        "| python | numpy | 2.4.6 | 2.5.5 | unknown  | base-debian-amd64 |"
    ]


def test_a_revision_and_itself_do_not_differ(locked: Path) -> None:
    assert diff_inputs.diff(locked, ("v1", "HEAD")).text == "# v1 -> HEAD\n\nNo differences."


def test_a_lock_that_a_revision_has_not_is_refused_with_those_that_it_has(locked: Path) -> None:
    (locked / "constraints/later.txt").write_text(PYTHON, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        diff_inputs.diff(locked, ("v1", "constraints/later.txt"))
    assert str(caught.value) == (
        "v1 has no constraints/later.txt.\n"
        "Its locks: constraints/base-debian-amd64.txt, constraints/os-debian-dev-amd64.txt."
    )


def test_a_lock_and_an_image_are_not_compared(locked: Path) -> None:
    with pytest.raises(UsageError, match=r"^v1 names locks and dynamo-base:1 does not: they cannot be compared\."):
        diff_inputs.diff(locked, ("dynamo-base:1", "v1"))


def test_pins_that_are_half_of_a_merge_are_refused(locked: Path) -> None:
    (locked / "containers").mkdir()
    (locked / "containers/pins.toml").write_text("<<<<<<< ours\n", encoding="utf-8")
    with pytest.raises(LockError, match=r"^containers/pins.toml of constraints is not valid TOML: "):
        diff_inputs.diff(locked, ("v1", "constraints"))


SCRIPT = """\
#!/bin/sh
case "$1 $2" in
"image inspect") [ "$3" = one:1 ] || { echo "No such image" >&2; exit 1; } && cat "$(dirname "$0")/inspected" ;;
"image ls") printf 'one:1\\n<none>:<none>\\nother:2\\n' ;;
"history "*) echo '{"Size": "80000000", "CreatedBy": "mmdebstrap"}' ;;
"run "*) echo '{"Python": {"numpy": "2.4.6"}}' ;;
esac
"""
INSPECTED = {
    "Id": "sha256:1",
    "Os": "linux",
    "Architecture": "amd64",
    "RootFS": {"Layers": ["sha256:2"]},
    "Config": {"Env": ["A=b=c"], "Entrypoint": ["/x"], "User": "1000:0", "Labels": None},
}


@pytest.fixture
def images(locked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the checkout beside an engine with an image `one:1`, whose CLI is a script."""
    docker = locked / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(SCRIPT, encoding="utf-8")
    docker.chmod(0o755)
    (docker.parent / "inspected").write_text(json.dumps([INSPECTED]), encoding="utf-8")
    plugin = locked / "docker/cli-plugins/docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.symlink_to("/bin/true")
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(locked / "docker"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")  # nobody asks it: the CLI is the script
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    return locked


def test_an_image_is_read_by_the_engine_and_by_its_own_python(images: Path) -> None:
    assert diff_inputs.diff(images, ("one:1", "one:1")).text == "# one:1 -> one:1\n\nNo differences."
    contents = diff_inputs._image_contents(images, DOCKER, "one:1", INSPECTED)
    assert contents == ImageContents(
        title="one:1",
        packages={"Python": {"numpy": "2.4.6"}},
        size=ImageSize(layers=(layer("mmdebstrap", "sha256:2", 80_000_000),)),
        settings={
            "Environment": {"A": "b=c"},
            "Start": {"entry point": '["/x"]', "user": "1000:0", "platform": "linux/amd64"},
            "Labels": {},
        },
    )


def test_the_layers_of_an_image_that_was_measured_here_have_the_names_that_they_got_then(images: Path) -> None:
    measured = MeasuredLayer(
        name="common-torch", digest="sha256:packed", content="sha256:2", packed=7, unpacked=80_000_000
    )
    size_cache.remember(images, "sha256:1", ImageSize(layers=(measured,)))
    assert diff_inputs._image_contents(images, DOCKER, "one:1", INSPECTED).size == ImageSize(layers=(measured,))


def test_an_unknown_name_is_refused_with_the_images_of_the_engine(images: Path) -> None:
    with pytest.raises(UsageError) as caught:
        diff_inputs.diff(images, ("one:1", "nope"))
    assert str(caught.value).splitlines()[:2] == [
        "nope is not a lock, a revision of this checkout, or an image of the engine.",
        "The engine has: one:1, other:2.",
    ]


def test_without_an_engine_an_image_cannot_be_compared(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{locked}/no.sock")
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    with pytest.raises(NoEngineError, match=r"^one:1 is not a lock or a revision\. Images can only be compared"):
        diff_inputs.diff(locked, ("one:1", "other:2"))


def test_an_image_says_what_dpkg_has_installed_and_which_wheels_lie_there(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
        encoding="utf-8",
    )
    (tmp_path / "ai_dynamo-1.4.2-py3-none-any.whl").touch()
    packages = packages_inside.packages(status, tmp_path)
    assert (packages["OS"], packages["wheelhouse"]) == ({"bash": "5.2"}, {"ai-dynamo": "1.4.2"})
    assert "pytest" in packages["Python"]
