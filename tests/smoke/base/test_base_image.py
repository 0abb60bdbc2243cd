"""The base image has what docs/reference/base-image.md promises to authors of backends, and can be built on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import process
from dynamo_containers.facts.catalogue import ROOT
from tests.smoke.containers import MOUNTED, SCRIPTS

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.bases import Bases
    from tests.smoke.containers import Engine

TOOLS = "for tool in 'uv --version' 'pip --version' 'auditwheel --version' 'patchelf --version'; do $tool; done"
INSTALL = """
set -eu
uv venv --quiet --python /usr/bin/python3 /tmp/venv
uv pip install --quiet --python /tmp/venv/bin/python --no-cache --no-index --no-deps \
    --find-links "$DYNAMO_WHEELHOUSE" ai-dynamo ai-dynamo-runtime nixl nixl-cu13
/tmp/venv/bin/python -c "import dynamo._core; print(dynamo._core.__file__)"
"""
DOCUMENT = ROOT / "docs/reference/base-image.md"
BUILD_SECONDS = 120


def test_its_variables_and_folders_are_those_of_the_documentation(inspected: dict[str, Any]) -> None:
    configuration = inspected["Config"]
    assert dict(variable.split("=", 1) for variable in configuration["Env"]) == {
        "DYNAMO_HOME": "/opt/dynamo",
        "DYNAMO_WHEELHOUSE": "/opt/dynamo/wheelhouse",
        "PATH": "/opt/dynamo/tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    assert configuration["WorkingDir"] == "/opt/dynamo"
    assert not configuration.get("Entrypoint")


def test_its_tools_run(engine: Engine, image: str) -> None:
    output = engine.run(image, ("sh", "-euc", TOOLS), name="tools", options=("--network", "none"))
    assert re.findall(r"^(uv|pip|auditwheel|patchelf) \d", output, re.MULTILINE) == [
        "uv",
        "pip",
        "auditwheel",
        "patchelf",
    ]


def test_its_wheels_install_without_an_index_and_dynamo_loads(engine: Engine, image: str, bases: Bases) -> None:
    output = engine.run(image, ("sh", "-c", INSTALL), name="install", options=("--network", "none"), seconds=120)
    assert output.startswith(f"/tmp/venv/lib/python{bases.python}/site-packages/dynamo/")


def test_nixl_moves_a_mebibyte_between_two_agents(engine: Engine, image: str) -> None:
    script = f'exec python3 -B {MOUNTED}/nixl_transfer.py /tmp/nixl "$DYNAMO_WHEELHOUSE"/nixl_cu*.whl'
    options = ("--network", "none", *SCRIPTS)
    answer = json.loads(engine.run(image, ("sh", "-c", script), name="nixl", options=options).splitlines()[-1])
    assert (answer["bytes"], answer["equal"]) == (1048576, True)
    assert "UCX" in answer["plugins"]


def test_the_documented_example_builds_on_it(engine: Engine, image: str, tmp_path: Path) -> None:
    example = re.search(r"^```dockerfile\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if example is None:
        pytest.fail(f"{DOCUMENT} has no block that starts with ```dockerfile, so there is no example to build")
    (tmp_path / "Dockerfile").write_text(example[1], encoding="utf-8")
    contexts = [
        argument for name in ("base", "root") for argument in ("--build-context", f"{name}=docker-image://{image}")
    ]
    options = ("buildx", "build", "--progress", "plain", "--platform", engine.platform.value, "--no-cache")
    command = process.Command(
        argv=("docker", *options, "--output", "type=cacheonly", *contexts, str(tmp_path)), env=engine.environment
    )
    finished = process.query(command, seconds=BUILD_SECONDS * engine.patience)
    log = engine.logs / "example.log"
    log.write_text(finished.stderr, encoding="utf-8")
    assert finished.returncode == 0, f"{finished.stderr[-3000:]}\nall of it: {log}"
