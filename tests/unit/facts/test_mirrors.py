"""Where a company's mirrors are looked for, and which of their words are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import DownloadError, UsageError
from dynamo_containers.facts import mirrors, user_config
from dynamo_containers.facts.mirrors import Mirrors
from dynamo_containers.upstream import download, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.conftest import Server


def written(folder: Path, text: str) -> dict[str, str]:
    file = folder / "company.toml"
    file.write_text(text, encoding="utf-8")
    return {mirrors.VARIABLE: str(file)}


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return what makes a text this machine's mirrors."""

    def use(text: str) -> None:
        monkeypatch.setenv(mirrors.VARIABLE, written(tmp_path, text)[mirrors.VARIABLE])
        mirrors.configured.cache_clear()

    yield use
    mirrors.configured.cache_clear()


def test_without_a_file_everything_is_asked_for_where_it_is(tmp_path: Path) -> None:
    none = mirrors.load({"XDG_CONFIG_HOME": str(tmp_path)})
    assert none.image("nvcr.io/nvidia/cuda:13") == "nvcr.io/nvidia/cuda:13"
    assert none.address("https://github.com/a") == "https://github.com/a"


def test_the_user_s_own_file_is_read_without_the_variable(tmp_path: Path) -> None:
    (tmp_path / user_config.USER_FOLDER).mkdir()
    (tmp_path / user_config.USER_FOLDER / mirrors.USER_FILE).write_text(
        '[registries]\n"quay.io" = "mirror.example"\n', encoding="utf-8"
    )
    assert mirrors.load({"XDG_CONFIG_HOME": str(tmp_path)}).image("quay.io/pypa/a@sha256:1") == (
        "mirror.example/pypa/a@sha256:1"
    )


def test_the_longest_beginning_that_fits_wins() -> None:
    table = Mirrors(
        registries={"nvcr.io": "one.example/nv", "nvcr.io/nvidia": "two.example"},
        addresses={
            "https://github.com/": "https://one.example/",
            "https://github.com/nats-io/": "https://two.example/",
        },
    )
    assert table.image("nvcr.io/nvidia/cuda:13") == "two.example/cuda:13"
    assert table.image("nvcr.io/nvidia-x/cuda:13") == "one.example/nv/nvidia-x/cuda:13"
    assert table.address("https://github.com/nats-io/a.tar.gz") == "https://two.example/a.tar.gz"
    assert table.address("https://github.com") == "https://one.example"
    assert table.address("https://github.com/etcd-io/a.tar.gz") == "https://one.example/etcd-io/a.tar.gz"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[images]\n"a" = "b"\n', "company.toml: images: unknown key (choose from: addresses, registries)."),
        ('[registries]\n"nvcr.io" = 1\n', 'company.toml: registries."nvcr.io": found 1, allowed is a string.'),
        (
            '[registries]\n"nvcr.io" = "https://mirror.example"\n',
            "company.toml: registries.\"nvcr.io\": found 'https://mirror.example', allowed is",
        ),
        (
            '[addresses]\n"https://github.com" = "https://mirror.example/"\n',
            "addresses: found the key 'https://github.com', allowed is",
        ),
        ("[registries\n", "company.toml is not valid TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    environment = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        mirrors.load(environment)
    assert message in str(error.value)


def test_a_file_that_is_named_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"away\.toml does not exist"):
        mirrors.load({mirrors.VARIABLE: str(tmp_path / "away.toml")})


def test_a_mirror_with_other_bytes_is_refused_and_both_addresses_are_named(
    tmp_path: Path, used: Callable[[str], None], server: Server
) -> None:
    server.files["/etcd.tar.gz"] = b"other bytes"
    used(f'[addresses]\n"https://github.com/" = "{server.address}/"\n')
    pinned = download.Download(url="https://github.com/etcd.tar.gz", sha256="1" * 64)
    with pytest.raises(DownloadError) as error:
        download.fetch(tmp_path / "store", pinned)
    message = f"https://github.com/etcd.tar.gz (at the mirror, {server.address}/etcd.tar.gz) is not the pinned file"
    assert str(error.value).startswith(message)
    assert not download.store_path(tmp_path / "store", pinned).exists()


def test_a_registry_is_asked_at_its_mirror(tmp_path: Path, used: Callable[[str], None]) -> None:
    used('[registries]\n"nvcr.io" = "mirror.example/nv"\n')
    buildx = tmp_path / "buildx"
    buildx.write_text(
        '#!/bin/sh\n[ "$5" = mirror.example/nv/nvidia/cuda:13 ] && echo "$5: not found" >&2\nexit 1\n', encoding="utf-8"
    )
    buildx.chmod(0o755)
    assert registry.inspect(registry.RegistryClient(buildx=(str(buildx),)), "nvcr.io/nvidia/cuda:13") is None
