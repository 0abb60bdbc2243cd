"""The dev image: toolchains, sudo and the UID of the host user on exactly the layers of the ci image."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.prepare.inputs import DEFAULT_UID
from tests.smoke.containers import MOUNTED, SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.smoke.containers import Engine
    from tests.smoke.layers import SavedImage

USER = os.getuid() or DEFAULT_UID
OFFLINE = ("--network", "none")


@pytest.fixture
def shell(engine: Engine, dev_image: str, request: pytest.FixtureRequest) -> Callable[..., str]:
    def run(line: str, *options: str) -> str:
        command = ("bash", "-euc", line)
        return engine.run(dev_image, command, name=request.node.name, options=(*OFFLINE, *options), seconds=120)

    return run


def layers_of(engine: Engine, tag: str) -> list[str]:
    layers: list[str] = engine.inspect(tag)["RootFS"]["Layers"]
    return layers


def test_it_begins_with_the_layers_of_the_ci_form_and_that_with_the_runtimes(
    engine: Engine, dev_image: str, ci_layers: SavedImage, layers: SavedImage
) -> None:
    dev = layers_of(engine, dev_image)
    assert tuple(dev[: len(ci_layers.diff_ids)]) == ci_layers.diff_ids
    assert tuple(dev[: len(layers.diff_ids)]) == layers.diff_ids
    assert len(dev) > len(ci_layers.diff_ids)


def test_its_stage_is_dev_and_its_variables_are_the_runtimes(engine: Engine, dev_image: str, image: str) -> None:
    dev, runtime = engine.inspect(dev_image)["Config"], engine.inspect(image)["Config"]
    assert dev["Labels"]["ai.dynamo.stage"] == "dev"
    assert {key: dev[key] for key in ("Env", "WorkingDir", "Entrypoint")} == {
        key: runtime[key] for key in ("Env", "WorkingDir", "Entrypoint")
    }


def test_its_user_has_the_uid_of_who_built_it_and_may_become_root(shell: Callable[..., str]) -> None:
    assert shell("id -u; id -un; id -g; sudo -n id -u").split() == [str(USER), "dynamo", "0", "0"]


def test_its_user_owns_its_home_and_writes_what_is_mounted(shell: Callable[..., str], tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    os.chown(sources, USER, -1)
    shell("touch ~/here; echo changed >file", "--volume", f"{sources}:/workspace")
    assert (sources / "file").read_text(encoding="utf-8") == "changed\n"
    assert (sources / "file").stat().st_uid == USER


def test_it_has_git(shell: Callable[..., str]) -> None:
    commit = "git -c user.name=x -c user.email=x commit --quiet --allow-empty -m first"
    assert shell(f"cd $(mktemp -d); git init --quiet; {commit}; git log --format=%s") == "first\n"


def test_it_compiles_c(shell: Callable[..., str]) -> None:
    program = r"printf '#include <stdio.h>\nint main(void) { puts(\"made\"); }\n' >/tmp/made.c"
    assert shell(f"{program}; gcc -o /tmp/made /tmp/made.c; /tmp/made") == "made\n"


def test_it_builds_a_python_extension(shell: Callable[..., str]) -> None:
    assert json.loads(shell(f"python -B {MOUNTED}/compile_extension.py", *SCRIPTS)) == {"answer": 42}


def test_dynamo_can_be_imported(shell: Callable[..., str]) -> None:
    assert shell("python -c 'import dynamo.runtime; print(True)'") == "True\n"


def test_its_user_can_put_sources_in_the_place_of_an_installed_package(shell: Callable[..., str]) -> None:
    line = f"sh {MOUNTED}/editable.sh; cd /; python -c 'import pytest; print(pytest.__version__)'"
    assert shell(line, *SCRIPTS) == "0+ours\n"


def test_the_tools_of_daily_work_start(shell: Callable[..., str]) -> None:
    tools = ("cmake", "gdb", "maturin", "mypy", "ninja", "protoc", "py-spy", "pytest", "ruff", "uv")
    shell("; ".join(f"{tool} --version" for tool in tools))
