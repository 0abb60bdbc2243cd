"""What is said of a shared storage of compiled code, what of it is refused, and how a step goes by it."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import UsageError
from dynamo_containers.facts import sccache
from dynamo_containers.facts.catalogue import ROOT, Stage, load_catalogue
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.plan.source_builds import Source
from dynamo_containers.prepare import inputs
from tests.lock.test_registry import free_port
from tests.unit import planned

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs

REDIS = 'SCCACHE_REDIS_ENDPOINT = "redis://cache.example:6379"\n'


def asked(tmp_path: Path, text: str) -> tuple[str, ...]:
    file = tmp_path / "sccache.toml"
    file.write_text(text, encoding="utf-8")
    return sccache.secrets({sccache.VARIABLE: str(file)})


@pytest.mark.parametrize(
    "text",
    [
        REDIS + 'SCCACHE_REDIS_PASSWORD = "secret"\n',
        'SCCACHE_BUCKET = "b"\nSCCACHE_REGION = "us-west-2"\nAWS_ACCESS_KEY_ID = "a"\nAWS_SECRET_ACCESS_KEY = "s"\n',
        'SCCACHE_MEMCACHED_ENDPOINT = "tcp://cache.example:11211"\n',
        'SCCACHE_CACHE_SIZE = "20G"\n',
    ],
)
def test_the_file_itself_is_the_secret_and_nothing_of_it_is_copied(tmp_path: Path, text: str) -> None:
    assert asked(tmp_path, text) == (f"id=sccache,src={tmp_path}/sccache.toml",)


def test_without_a_file_there_is_no_secret(tmp_path: Path) -> None:
    assert sccache.secrets({"XDG_CONFIG_HOME": str(tmp_path)}) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no storage is set"),
        (REDIS + 'SCCACHE_BUCKET = "b"\n', "SCCACHE_BUCKET and SCCACHE_REDIS_ENDPOINT are two storages"),
        (REDIS + 'SCCACHE_REDIS_PASWORD = "secret"\n', "SCCACHE_REDIS_PASWORD: unknown key"),
        (REDIS + 'SCCACHE_REDIS_PASSWORD = ["secret"]\n', "SCCACHE_REDIS_PASSWORD: found a value of type list"),
        (REDIS + 'AWS_ACCESS_KEY_ID = "secret"\n', "AWS_ACCESS_KEY_ID: unknown key"),
        (REDIS + 'SCCACHE_DIR = "/srv/secret"\n', "SCCACHE_DIR is a file on this machine"),
        ('SCCACHE_BUCKET = "b"\nAWS_PROFILE = "secret"\n', "AWS_PROFILE is a file on this machine"),
        ('SCCACHE_REDIS_ENDPOINT = "redis://u:secret@cache.example"\n', "SCCACHE_REDIS_ENDPOINT contains a user"),
        ('SCCACHE_REDIS_ENDPOINT = "redis://127.0.0.1:6379"\n', "is 127.0.0.1, which is the container itself"),
        ('SCCACHE_MEMCACHED_ENDPOINT = "localhost:11211"\n', "is localhost, which is the container itself"),
    ],
)
def test_what_no_step_could_use_is_refused_by_name_and_never_by_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        asked(tmp_path, text)
    assert message in str(caught.value)
    assert "sccache.toml" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_named_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist"):
        sccache.secrets({sccache.VARIABLE: str(tmp_path / "none.toml")})


def test_only_a_build_from_sources_has_the_secret(
    own_checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secret,) = asked(tmp_path, REDIS)
    monkeypatch.setenv(sccache.VARIABLE, str(tmp_path / "sccache.toml"))
    wheels = request_for(load_catalogue(own_checkout), Stage.BASE, ImageSelection(platforms=["linux/amd64"]))
    dynamo = replace(wheels, sources={"dynamo": Source(context="https://a/b.git#0123", local=False)})
    assert secret in inputs.offline_build_inputs(dynamo).secrets
    assert secret not in inputs.offline_build_inputs(wheels).secrets


def test_the_configuration_changes_nothing_of_a_step_but_its_secrets(
    catalogue: Catalogue, facts: BuildInputs, checkout: Path
) -> None:
    source = Source(context="/src/dynamo", local=True, state="0123")
    debs = checkout / ".build/os-packages/debian-rust-0123456789abcdef"
    without = replace(facts, sources={"dynamo": source}, os_packages={"rust": debs})
    configured = replace(without, secrets=(*without.secrets, "id=sccache,src=/home/a/sccache.toml"))
    request = request_for(catalogue, Stage.BASE)
    plain, cached = (planned.document(request, state)["target"] for state in (without, configured))
    assert plain["dynamo-rust"]["contexts"]["sccache"] == str(checkout / "containers/sccache")
    for step in plain.values():
        step.pop("secret")
    for step in cached.values():
        assert "id=sccache,src=/home/a/sccache.toml" in step.pop("secret")
    assert plain == cached


# The step's own program
@pytest.fixture(scope="module")
def sharing() -> ModuleType:
    """Return the program as a module."""
    loader = SourceFileLoader("sharing", str(ROOT / "containers/sccache/sharing"))
    spec = spec_from_loader("sharing", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"SCCACHE_REDIS_ENDPOINT": "redis://cache.example"}, ("cache.example", 6379)),
        ({"SCCACHE_REDIS_ENDPOINT": "rediss://cache.example:7000"}, ("cache.example", 7000)),
        ({"SCCACHE_MEMCACHED_ENDPOINT": "tcp://cache.example"}, ("cache.example", 11211)),
        ({"SCCACHE_WEBDAV_ENDPOINT": "http://cache.example/dav"}, ("cache.example", 80)),
        ({"SCCACHE_BUCKET": "b", "SCCACHE_REGION": "us-west-2"}, ("s3.us-west-2.amazonaws.com", 443)),
        ({"SCCACHE_BUCKET": "b", "SCCACHE_ENDPOINT": "minio.example:9000"}, ("minio.example", 9000)),
        ({"SCCACHE_BUCKET": "b", "SCCACHE_ENDPOINT": "minio.example"}, ("", 0)),
        ({"SCCACHE_CACHE_SIZE": "20G"}, ("", 0)),
    ],
)
def test_the_address_of_a_storage_is_known_from_its_variables(
    sharing: ModuleType, variables: dict[str, str], address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "getproxies", dict)
    assert sharing.address(variables) == address


def test_a_storage_behind_a_proxy_is_not_tried_past_it(sharing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "getproxies", lambda: {"https": "http://proxy.example:3128"})
    assert sharing.address({"SCCACHE_BUCKET": "b", "SCCACHE_REGION": "us-west-2"}) == ("", 0)
    assert sharing.address({"SCCACHE_REDIS_ENDPOINT": "redis://cache.example"}) == ("cache.example", 6379)


def test_a_storage_that_is_down_is_found_out_at_once_and_why(sharing: ModuleType) -> None:
    port = free_port()
    down = {"SCCACHE_REDIS_ENDPOINT": f"redis://127.0.0.1:{port}"}
    assert sharing.connection_error(down) == f"the storage at 127.0.0.1:{port} is unreachable (Connection refused)"
    with socket.create_server(("127.0.0.1", port)):
        assert sharing.connection_error(down) == ""
    assert sharing.connection_error({"SCCACHE_CACHE_SIZE": "20G"}) == ""


def test_no_credential_is_in_the_environment_of_compilers(sharing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert sharing.exports() == [
        "launcher=sccache",
        "export SCCACHE_DIR=/root/.cache/sccache",
        "export SCCACHE_IGNORE_SERVER_IO_ERROR=1",
        "export SCCACHE_SERVER_UDS=/dev/shm/sccache",
        f"export PATH=/usr/bin:{sharing.PROGRAM.parent}",
    ]


def test_a_step_without_the_secret_is_told_nothing(tmp_path: Path) -> None:
    """This machine has no /run/secrets/sccache, as a step of a machine without the file."""
    argv = (sys.executable, str(ROOT / "containers/sccache/sharing"), "start")
    completed = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (completed.stdout, completed.stderr) == ("", "")
