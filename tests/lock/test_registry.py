"""Root images of a real registry on loopback: docker-registry of Debian, unpacked privately and stopped afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from dynamo_containers import engine
from dynamo_containers.errors import LockError
from dynamo_containers.facts.bases import RegistryRoot
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.pins import PINS_FILE, ImagePin, Pins, load_pins, render
from dynamo_containers.lock import images as lock_images
from dynamo_containers.lock import selection
from dynamo_containers.lock import update as lock_update
from dynamo_containers.platforms import Platform
from dynamo_containers.upstream import host_tools
from dynamo_containers.upstream.registry import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.result import Result
    from dynamo_containers.upstream.unreachable import RefreshResult, UnreachableInput

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
BOTH = (Platform.AMD64, Platform.ARM64)
IMAGES = """\
[project]
source = "https://example.invalid/dynamo"
licenses = "Apache-2.0"
version-package = "ai-dynamo"
oldest-glibc = "2.35"

[reports]
keep = 50

[lock]
cooldown-days = 7

[lock.cooldown-exempt]

[bases.cuda]
description = "of a registry"
strict = true
python = "3.12"
interpreter = "/usr/bin/python3"
glibc = "2.39"

[bases.cuda.roots.runtime]
image = "{address}/cuda:13-runtime"

[bases.cuda.programs]

[images]
"""


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry to which tests push images."""

    address: str

    def _send(self, method: str, url: str, content: bytes, kind: str) -> str:
        request = Request(url, data=content, method=method, headers={"Content-Type": kind})
        with urlopen(request, timeout=5) as answer:
            return str(answer.headers.get("Location", ""))

    def _blob(self, name: str, content: bytes) -> dict[str, object]:
        kind = "application/octet-stream"
        place = self._send("POST", f"http://{self.address}/v2/{name}/blobs/uploads/", b"", kind)
        self._send("PUT", f"{place}&digest={digest_of(content)}", content, kind)
        return {"digest": digest_of(content), "size": len(content)}

    def push(self, name: str, tag: str, platform: Platform, content: str) -> dict[str, object]:
        """Push an image for one platform; return its descriptor."""
        config = json.dumps({"os": "linux", "architecture": platform.arch, "author": content}).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, **self._blob(name, config)},
                "layers": [],
            }
        ).encode()
        self._send("PUT", f"http://{self.address}/v2/{name}/manifests/{tag}", manifest, MANIFEST)
        of = {"os": "linux", "architecture": platform.arch}
        return {"mediaType": MANIFEST, "digest": digest_of(manifest), "size": len(manifest), "platform": of}

    def push_index(self, name: str, tag: str, content: str, platforms: tuple[Platform, ...] = BOTH) -> str:
        """Push an image for several platforms; return the digest of its index."""
        manifests = [self.push(name, f"{platform.arch}-{content}", platform, content) for platform in platforms]
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
        self._send("PUT", f"http://{self.address}/v2/{name}/manifests/{tag}", index, INDEX)
        return digest_of(index)

    def remove(self, name: str, digest: str) -> None:
        """Remove a manifest and its tags."""
        self._send("DELETE", f"http://{self.address}/v2/{name}/manifests/{digest}", b"", "text/plain")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def program() -> dict[str, str]:
    """Return an environment with docker-registry on PATH."""
    return {**os.environ, **host_tools.environment(ROOT, ("docker-registry",))}


@pytest.fixture(scope="module")
def registry(program: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Run a registry on loopback."""
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "settings.yml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    argv = ("docker-registry", "serve", str(folder / "settings.yml"))
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, env=program, stdout=log, stderr=log) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/v2/", process)
            yield Registry(address=f"127.0.0.1:{port}")
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urlopen(url, timeout=1).close()
        except (URLError, OSError):
            time.sleep(0.02)
        else:
            return
    pytest.fail("docker-registry did not start")


@pytest.fixture(autouse=True)
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistryClient:
    """Return a client with an empty configuration and without an engine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    buildx = engine.client_buildx(ROOT)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return RegistryClient(buildx=buildx)


def row(image: str, platforms: tuple[Platform, ...] = BOTH) -> lock_images.RegistryImage:
    return lock_images.RegistryImage(bases="cuda", role="runtime", root=RegistryRoot(image=image), platforms=platforms)


def ask(
    client: RegistryClient, image: str, pin: ImagePin | None = None, *, upgrade_all: bool = False
) -> RefreshResult[tuple[str, str], ImagePin]:
    old = {("cuda", "runtime"): pin} if pin else {}
    return lock_images.pin_images(client, [row(image)], old, upgrade_all=upgrade_all)


def pinned(client: RegistryClient, image: str) -> ImagePin:
    return ask(client, image).pins["cuda", "runtime"]


def test_a_tag_is_pinned_by_its_index_and_the_manifest_of_each_platform(
    client: RegistryClient, registry: Registry
) -> None:
    image = f"{registry.address}/first:1"
    index = registry.push_index("first", "1", "one")
    manifests = {platform: str(registry.push("first", platform.arch, platform, "one")["digest"]) for platform in BOTH}
    outcome = ask(client, image)
    assert outcome.pins == {("cuda", "runtime"): ImagePin(image=image, index=index, platforms=manifests)}
    assert outcome.messages == (f"roots.cuda.runtime: {image} is pinned to {index}",)
    assert outcome.unreachable == ()


def test_a_platform_with_a_repository_of_its_own_is_pinned_by_its_image(
    client: RegistryClient, registry: Registry
) -> None:
    amd64 = str(registry.push("wheels_x86_64", "1", Platform.AMD64, "amd")["digest"])
    arm64 = str(registry.push("wheels_aarch64", "1", Platform.ARM64, "arm")["digest"])
    image = f"{registry.address}/wheels_{{machine}}:1"
    assert pinned(client, image) == ImagePin(
        image=image, index="", platforms={Platform.AMD64: amd64, Platform.ARM64: arm64}
    )


def test_an_unchanged_tag_moves_nothing_and_says_nothing(client: RegistryClient, registry: Registry) -> None:
    image = f"{registry.address}/same:1"
    registry.push_index("same", "1", "one")
    pin = pinned(client, image)
    for upgrade_all in (False, True):
        outcome = ask(client, image, pin, upgrade_all=upgrade_all)
        assert (outcome.pins["cuda", "runtime"], outcome.messages, outcome.unreachable) == (pin, (), ())


def test_manifests_that_were_not_known_are_added_to_an_index_that_stays(
    client: RegistryClient, registry: Registry
) -> None:
    image = f"{registry.address}/bare:1"
    index = registry.push_index("bare", "1", "one")
    outcome = ask(client, image, ImagePin(image=image, index=index, platforms={}))
    assert set(outcome.pins["cuda", "runtime"].platforms) == set(BOTH)
    assert outcome.pins["cuda", "runtime"].index == index
    assert outcome.messages == ()


def test_a_tag_that_moved_on_is_named_and_taken_only_with_an_upgrade(
    client: RegistryClient, registry: Registry
) -> None:
    image = f"{registry.address}/moved:1"
    registry.push_index("moved", "1", "one")
    pin = pinned(client, image)
    newer = registry.push_index("moved", "1", "two")
    outcome = ask(client, image, pin)
    assert outcome.pins["cuda", "runtime"] == pin
    assert outcome.messages == (
        f"{image}: the tag is now {newer}; upgrade with: invoke lock --only images --upgrade-all",
    )
    upgraded = ask(client, image, pin, upgrade_all=True)
    assert upgraded.pins["cuda", "runtime"].index == newer
    assert upgraded.messages == (f"roots.cuda.runtime: {image} is pinned to {newer}",)


def test_another_tag_in_the_data_is_taken_without_an_upgrade(client: RegistryClient, registry: Registry) -> None:
    registry.push_index("other", "1", "one")
    newer = registry.push_index("other", "2", "two")
    pin = pinned(client, f"{registry.address}/other:1")
    assert ask(client, f"{registry.address}/other:2", pin).pins["cuda", "runtime"].index == newer


def test_a_pinned_digest_that_the_registry_deleted_is_an_error_until_an_upgrade(
    client: RegistryClient, registry: Registry
) -> None:
    image = f"{registry.address}/gone:1"
    registry.push_index("gone", "1", "one")
    pin = pinned(client, image)
    newer = registry.push_index("gone", "1", "two")
    registry.remove("gone", pin.index)
    with pytest.raises(LockError) as caught:
        ask(client, image, pin)
    assert str(caught.value).startswith(
        f"roots.cuda.runtime: the registry does not have {registry.address}/gone@{pin.index}.\n"
    )
    assert ask(client, image, pin, upgrade_all=True).pins["cuda", "runtime"].index == newer


@pytest.mark.parametrize("name", ["first:none", "never-pushed:1"])
def test_no_such_tag_or_repository_is_an_error_that_names_the_row(
    client: RegistryClient, registry: Registry, name: str
) -> None:
    registry.push_index("first", "1", "one")
    image = f"{registry.address}/{name}"
    with pytest.raises(LockError, match=f"^roots.cuda.runtime: the registry does not have {image}"):
        ask(client, image)


def test_an_image_without_a_platform_that_is_needed_is_an_error(client: RegistryClient, registry: Registry) -> None:
    image = f"{registry.address}/half:1"
    registry.push_index("half", "1", "one", (Platform.AMD64,))
    with pytest.raises(LockError, match="is not available for linux/arm64: it has linux/amd64"):
        ask(client, image)


@pytest.fixture
def project(registry: Registry, tmp_path: Path) -> Catalogue:
    """Return a checkout whose only root image is in the registry."""
    registry.push_index("cuda", "13-runtime", "one")
    return checkout(tmp_path / "checkout", registry.address)


IMAGES_ONLY = selection.select(["images"])


def unreachable(result: Result) -> tuple[UnreachableInput, ...]:
    assert isinstance(result.data, lock_update.LockUpdate)
    return result.data.unreachable


def checkout(folder: Path, address: str) -> Catalogue:
    (folder / "containers").mkdir(parents=True, exist_ok=True)
    if not (folder / ".engine").exists():
        (folder / ".engine").symlink_to(ROOT / ".engine")  # the folder of a private buildx
    (folder / IMAGES_FILE).write_text(IMAGES.replace("{address}", address), encoding="utf-8")
    return load_catalogue(folder)


def test_a_registry_that_refuses_leaves_the_old_pin_and_ends_with_exit_code_10(
    project: Catalogue,
) -> None:
    assert "is pinned to sha256:" in lock_update.update(project, IMAGES_ONLY).text
    pins = load_pins(project.folder)
    closed = f"127.0.0.1:{free_port()}"
    moved = ImagePin(
        image=f"{closed}/cuda:13-runtime",
        index=pins.roots["cuda", "runtime"].index,
        platforms=pins.roots["cuda", "runtime"].platforms,
    )
    text = render(Pins(epoch=pins.epoch, programs={}, roots={("cuda", "runtime"): moved}))
    (project.folder / PINS_FILE).write_text(text, encoding="utf-8")
    result = lock_update.update(checkout(project.folder, closed), IMAGES_ONLY)
    assert (project.folder / PINS_FILE).read_text(encoding="utf-8") == text
    assert result.exit_code == 10
    (line,) = [line for line in result.text.splitlines() if "roots.cuda.runtime" in line]
    assert f"the old pin {moved.index[:19]} of {closed}/cuda:13-runtime" in line
    assert line.endswith("connection refused")


def test_what_was_never_pinned_and_cannot_be_asked_is_not_locked(tmp_path: Path) -> None:
    closed = f"127.0.0.1:{free_port()}"
    (row,) = unreachable(lock_update.update(checkout(tmp_path / "checkout", closed), IMAGES_ONLY))
    assert (row.name, row.pinned) == ("roots.cuda.runtime", "not locked")
    assert load_pins(tmp_path / "checkout").roots == {}


def test_a_registry_that_says_nothing_is_left_after_some_seconds(client: RegistryClient) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        image = f"127.0.0.1:{silent.getsockname()[1]}/cuda:1"
        start = time.monotonic()
        rows = [row(image), row(image.replace("cuda", "other"))]
        outcome = lock_images.pin_images(RegistryClient(buildx=client.buildx, seconds=1), rows, {}, upgrade_all=False)
    assert time.monotonic() - start < 5
    assert [(row.reason, row.pinned) for row in outcome.unreachable] == [("no answer within 1 s", "not locked")] * 2


def test_other_bases_keep_their_pins_unasked(project: Catalogue) -> None:
    text = (project.folder / IMAGES_FILE).read_text(encoding="utf-8")
    other = text.partition("[bases.cuda]")[2].partition("[images]")[0].replace("bases.cuda", "bases.rocm")
    address = f"127.0.0.1:{free_port()}"
    other = other.replace(project.bases["cuda"].registry_roots["runtime"].image.partition("/")[0], address)
    text = text.replace("[images]\n", f"[bases.rocm]{other}\n[images]\n")
    (project.folder / IMAGES_FILE).write_text(text, encoding="utf-8")
    result = lock_update.update(load_catalogue(project.folder), selection.select(["images"], bases=["cuda"]))
    assert unreachable(result) == ()
    assert set(load_pins(project.folder).roots) == {("cuda", "runtime")}


ENGINE_ROW = """\
[images.engine]
title = "engine"
description = "engine"
repository = "engine"
backend = "engine"
install-from = "{way}"
engine-image = "{address}/engine:1"
stages = []
bases = ["cuda"]
platforms = ["linux/arm64"]
"""


def with_engine(project: Catalogue, address: str, way: str = "image") -> Catalogue:
    """Return the checkout with an image that is based on the published image of its engine."""
    row = ENGINE_ROW.replace("{address}", address).replace("{way}", way)
    head = (project.folder / IMAGES_FILE).read_text(encoding="utf-8").partition("[images")[0]
    (project.folder / IMAGES_FILE).write_text(head + row, encoding="utf-8")
    return load_catalogue(project.folder)


def test_the_published_image_of_an_engine_is_pinned_for_the_platforms_of_its_row(
    project: Catalogue, registry: Registry
) -> None:
    index = registry.push_index("engine", "1", "one")
    arm = str(registry.push("engine", "arm", Platform.ARM64, "one")["digest"])
    result = lock_update.update(with_engine(project, registry.address), IMAGES_ONLY)
    image = f"{registry.address}/engine:1"
    assert f"roots.engine-image.engine: {image} is pinned to {index}" in result.text
    pin = ImagePin(image=image, index=index, platforms={Platform.ARM64: arm})
    assert load_pins(project.folder).roots["engine-image", "engine"] == pin


def test_the_published_image_of_an_engine_is_not_asked_for_where_wheels_are_used(
    project: Catalogue, registry: Registry
) -> None:
    closed = f"127.0.0.1:{free_port()}"
    assert unreachable(lock_update.update(with_engine(project, closed, way="wheels"), IMAGES_ONLY)) == ()
    registry.push_index("engine", "1", "one")
    lock_update.update(with_engine(project, registry.address), IMAGES_ONLY)
    lock_update.update(with_engine(project, registry.address, way="wheels"), IMAGES_ONLY)
    assert ("engine-image", "engine") in load_pins(project.folder).roots  # for the change back


def test_a_published_image_that_cannot_be_asked_for_is_a_row_and_keeps_its_old_pin(
    project: Catalogue, registry: Registry
) -> None:
    closed = f"127.0.0.1:{free_port()}"
    (row,) = unreachable(lock_update.update(with_engine(project, closed), IMAGES_ONLY))
    assert (row.name, row.address, row.pinned) == ("roots.engine-image.engine", f"{closed}/engine:1", "not locked")
    registry.push_index("engine", "1", "one")
    lock_update.update(with_engine(project, registry.address), IMAGES_ONLY)
    before = load_pins(project.folder).roots["engine-image", "engine"]
    (row,) = unreachable(lock_update.update(with_engine(project, closed), IMAGES_ONLY))
    assert row.pinned.startswith(f"the old pin {before.index[:19]}")
    assert load_pins(project.folder).roots["engine-image", "engine"] == before
