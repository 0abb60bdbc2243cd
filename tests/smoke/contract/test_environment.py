"""Paths and variables of a runtime; the paths exist."""

from __future__ import annotations

from pathlib import PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.bases import Bases
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.platforms import Platform
    from tests.smoke.layers import SavedImage

UCX_PLUGIN = "libplugin_UCX.so"


def test_dynamo_home_and_the_environment_are_where_the_contract_says(
    probe: Mapping[str, Any], layers: SavedImage
) -> None:
    variables = probe["user"]["environment"]
    assert variables["DYNAMO_HOME"] == "/opt/dynamo"
    assert variables["VIRTUAL_ENV"] == "/opt/dynamo/venv"
    assert variables["PATH"].split(":")[0] == "/opt/dynamo/venv/bin"
    assert probe["command_paths"]["python"] == "/opt/dynamo/venv/bin/python"
    assert "opt/dynamo/venv/bin/python" in layers.files


def test_no_variable_changes_where_libraries_are_looked_for(probe: Mapping[str, Any]) -> None:
    assert [name for name in probe["user"]["environment"] if name.startswith("LD_")] == []


def test_the_nixl_variables_name_folders_that_have_nixl(probe: Mapping[str, Any], layers: SavedImage) -> None:
    variables = probe["user"]["environment"]
    names = {name: _real(layers, variables[name]) for name in ("NIXL_PREFIX", "NIXL_LIB_DIR", "NIXL_PLUGIN_DIR")}
    # In a backend the link leads elsewhere, because NIXL is a package of the environment.
    assert variables["NIXL_LIB_DIR"].startswith(f"{variables['NIXL_PREFIX']}/")
    assert f"{names['NIXL_LIB_DIR']}/libnixl.so" in layers.files
    assert f"{names['NIXL_PLUGIN_DIR']}/{UCX_PLUGIN}" in layers.files


def _real(layers: SavedImage, path: str) -> str:
    """Return a path with the symbolic links of the image resolved."""
    real = PurePosixPath()
    for part in PurePosixPath(path).relative_to("/").parts:
        real /= part
        entry = layers.files.get(str(real))
        if entry and entry.link:
            real = PurePosixPath(normpath(real.parent / entry.link))
    return str(real)


def test_there_is_one_nixl_and_one_ucx(layers: SavedImage) -> None:
    assert len({PurePosixPath(path).parent for path in layers.named("libnixl.so")}) == 1
    assert len({PurePosixPath(path).parent for path in layers.named("libucp*.so*")}) == 1


def test_nats_and_etcd_are_where_the_contract_says_and_run(
    probe: Mapping[str, Any], catalogue: Catalogue, bases: Bases, platform: Platform
) -> None:
    assert {name: probe["command_paths"][name] for name in ("nats-server", "etcd", "etcdctl")} == {
        "nats-server": "/usr/bin/nats-server",
        "etcd": "/usr/local/bin/etcd",
        "etcdctl": "/usr/local/bin/etcdctl",
    }
    for name, answer in probe["programs"].items():
        version = catalogue.pins.programs[bases.name, name, platform].version.partition("-")[0]
        assert (answer["code"], version in answer["output"]) == (0, True), f"{name}: {answer['output']}"


def test_the_machine_is_the_platforms(probe: Mapping[str, Any], platform: Platform) -> None:
    assert probe["user"]["machine"] == platform.machine
