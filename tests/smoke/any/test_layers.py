"""Content of the layers: files for this platform, not newer than the locks, without traces of the build machine."""

from __future__ import annotations

import hashlib
import runpy
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dynamo_containers.facts.catalogue import ROOT
from tests.smoke.forbidden import certificates
from tests.smoke.layers import matches

if TYPE_CHECKING:
    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.platforms import Platform
    from tests.smoke.layers import SavedImage

MAY_NAME = (
    ("*/Cryptodome/SelfTest/*", "a private key", "keys made up for the tests of pycryptodomex"),
    ("*/av.libs/libgnutls-*", "a private key", "the strings by which GnuTLS recognizes a PEM file"),
    ("*/decord2.libs/libgnutls-*", "a private key", "the same, in another package's copy"),
)
"""(pattern of a path, what was found there, why it is not a leak)."""
CHECK_ELF = runpy.run_path(str(ROOT / "containers/bin/check-elf"))
FOREIGN: tuple[str, ...] = tuple(CHECK_ELF["AS_DATA"])
"""Patterns of files for another machine that are data: the build accepts them and has the reasons."""
OF_DEVICES = frozenset(CHECK_ELF["OF_DEVICES"])
"""e_machine of files that no processor runs and no loader loads."""
CREDENTIAL_FILES = (
    *(".netrc", "_netrc", ".pypirc", ".git-credentials", "pip.conf", "uv.toml", ".npmrc"),
    *("id_rsa", "id_ecdsa", "id_ed25519", "auth.json", ".env"),
)
CA_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
CA_PACKAGE = "var/lib/dpkg/info/ca-certificates.md5sums"
MOST_LAYERS = 100
"""The limit of overlayfs is about 127."""


def leaks(layers: SavedImage) -> set[str]:
    """Return the traces of the build machine in the layers."""
    return {
        f"layer {entry.layer}: /{entry.path}: {name}"
        for layer in layers.layers
        for entry in layer
        for name in entry.leaks
        if not any(fnmatchcase(entry.path, path) and name == leak for path, leak, _ in MAY_NAME)
    }


def test_no_layer_holds_a_string_of_the_machine_that_built_it(layers: SavedImage) -> None:
    assert leaks(layers) == set()


def test_neither_configuration_nor_history_holds_such_a_string(layers: SavedImage) -> None:
    assert layers.config_leaks == ()


def test_no_layer_holds_a_file_for_credentials(layers: SavedImage) -> None:
    credential_files = {
        entry.path
        for layer in layers.layers
        for entry in layer
        if any(matches(entry.path, name) for name in CREDENTIAL_FILES)
        or entry.path.endswith(".docker/config.json")
        or (entry.path.startswith("run/secrets/") and not entry.directory)
    }
    assert credential_files == set()


def test_every_certificate_is_one_that_debian_ships(layers: SavedImage) -> None:
    package = (layers.files[CA_PACKAGE].content or b"").decode()
    listed = {path: digest for digest, path in (line.split(maxsplit=1) for line in package.splitlines())}
    shipped: set[bytes] = set()
    for path, entry in layers.files.items():
        if path.endswith(".crt") and path in listed:
            assert hashlib.md5(entry.content or b"").hexdigest() == listed[path], path  # noqa: S324 - dpkg's own
            shipped |= {*certificates((entry.content or b"").decode())}
    trusted = {*certificates((layers.files[CA_BUNDLE].content or b"").decode())}
    assert trusted
    assert trusted <= shipped
    assert layers.named("usr/local/share/ca-certificates/*") == []


def test_every_program_and_library_is_for_the_platform(layers: SavedImage, platform: Platform) -> None:
    machines = {entry.path: entry.elf_machine for entry in layers.files.values() if entry.elf_machine is not None}
    assert machines
    foreign = {
        path: machine for path, machine in machines.items() if machine not in {platform.elf_machine, *OF_DEVICES}
    }
    assert [path for path in foreign if not any(fnmatchcase(path, pattern) for pattern in FOREIGN)] == []


def test_no_file_is_newer_than_the_locks(layers: SavedImage, catalogue: Catalogue) -> None:
    newer = {entry.path for layer in layers.layers for entry in layer if entry.mtime > catalogue.pins.epoch}
    assert newer == set()


def test_there_are_few_enough_layers_to_start(layers: SavedImage) -> None:
    assert len(layers.layers) <= MOST_LAYERS


def test_nothing_of_ours_runs_with_the_rights_of_another_user(layers: SavedImage) -> None:
    folders = ("home/", "opt/", "usr/local/", "workspace/")
    assert [path for path, entry in layers.files.items() if path.startswith(folders) and entry.mode & 0o4000] == []
