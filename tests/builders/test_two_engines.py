"""The base image for two platforms from two engines under one tag; and an engine that ends during a build.

The engine of this checkout builds its own platform. A second engine, a docker context, builds the other platform by
emulation. The registry is that of Debian, on loopback. Debian has no standalone BuildKit, so the remote and Kubernetes
drivers are tested only by their plans.
"""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers import engine, state
from dynamo_containers import process as process_module
from dynamo_containers.engine.paths import EnginePaths
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.inspect.report import record
from dynamo_containers.inspect.report.record import CACHED, DONE
from dynamo_containers.plan import builders
from dynamo_containers.platforms import Platform, native_platform
from tests.checkout_copy import checkout
from tests.second_machine import CLEAN, Machine, second
from tests.stand_in.servers import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.inspect.report.record import BuildReport

pytestmark = pytest.mark.engine

NATIVE = native_platform()
FOREIGN = next(platform for platform in Platform if platform is not NATIVE)
NODE = "node"
IMAGE = "dynamo-base"
ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
PLACE = ROOT / ".build" / "two-engines"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A checkout with a builder for the foreign platform, the machine of that builder, and their common registry."""

    host: Machine
    node: Machine
    registry: str

    def arguments(self, team: str) -> tuple[str, ...]:
        """Return the arguments that build both platforms and push them for a team."""
        return ("build.base", "--platform", "all", "--push", f"{self.registry}/{team}")

    def ask(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return the answer of the registry for a path."""
        request = urllib.request.Request(f"http://{self.registry}/v2/{path}", headers={"Accept": ACCEPT})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def tags(self, team: str) -> list[str]:
        """Return the tags of a team's image that users pull."""
        if f"{team}/{IMAGE}" not in self.ask("_catalog")["repositories"]:
            return []
        return [tag for tag in self.ask(f"{team}/{IMAGE}/tags/list")["tags"] or () if not tag.startswith("part-")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    engine.up(ROOT, (NATIVE, FOREIGN))
    with (
        second(PLACE / "node", FOREIGN.value) as node,
        registry(folder, [engine.network(node.folder)]) as running,
    ):
        checkout(PLACE / "one")
        own = EnginePaths(folder=ROOT)
        (folder / "docker").mkdir()
        (folder / "docker/config.json").write_bytes((own.docker_config / "config.json").read_bytes())
        variables = {**CLEAN, "DOCKER_CONFIG": str(folder / "docker"), "PATH": engine.environment(ROOT)["PATH"]}
        address = engine.environment(node.folder)["DOCKER_HOST"]
        argv = ("docker", "context", "create", NODE, "--docker", f"host={address}")
        subprocess.run(argv, env=variables, check=True, capture_output=True)
        (folder / "builders.toml").write_text(f'[builders]\n"{FOREIGN.value}" = "{NODE}"\n', encoding="utf-8")
        host = Machine(
            folder=PLACE / "one",
            environment={**variables, "DOCKER_HOST": own.host, builders.VARIABLE: str(folder / "builders.toml")},
        )
        yield Site(host=host, node=node, registry=running.address)


def last_report(site: Site) -> BuildReport:
    report = record.read((site.host.folder / state.LAST_REPORT).read_text(encoding="utf-8"))
    assert report is not None
    return report


def test_a_pair_without_a_registry_to_meet_in_is_refused_before_anything_is_built(site: Site) -> None:
    finished = site.host.invoke("-R", "build.base", "--platform", "all")
    assert finished.returncode == 2
    assert f"linux/arm64: the builder {NODE}" in finished.stderr
    assert "--push HOST[:PORT][/PATH], or build one platform at a time" in finished.stderr


def test_both_platforms_are_under_one_tag_each_built_by_its_own_engine(site: Site) -> None:
    finished = site.host.invoke(*site.arguments("team"))
    assert finished.returncode == 0, finished.stderr[-3000:]
    (tag,) = site.tags("team")
    assert tag.endswith("-debian")
    index = site.ask(f"team/{IMAGE}/manifests/{tag}")
    platforms = {row["platform"]["architecture"]: row["digest"] for row in index["manifests"]}
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert set(platforms) == {"amd64", "arm64"}
    for arch, digest in platforms.items():
        manifest = site.ask(f"team/{IMAGE}/manifests/{digest}")
        config = site.ask(f"team/{IMAGE}/blobs/{manifest['config']['digest']}")
        assert config["architecture"] == arch
    named = ("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=ai.dynamo.stage")
    host_tags, node_tags = site.host.docker(*named), site.node.docker(*named)
    assert f"part-debian-{NATIVE.arch}" in host_tags
    assert f"part-debian-{FOREIGN.arch}" not in host_tags
    assert f"part-debian-{FOREIGN.arch}" in node_tags
    assert f"part-debian-{NATIVE.arch}" not in node_tags


def test_the_report_of_a_pair_has_the_steps_of_each_machine(site: Site) -> None:
    """The report is that of the previous test."""
    report = last_report(site)
    assert [(node.name, node.platforms, node.unknown_reason) for node in report.nodes] == [
        ("the engine of this machine", (NATIVE.value,), ""),
        (f"the builder {NODE}", (FOREIGN.value,), ""),
    ]
    for machine, platform in (("the engine of this machine", NATIVE), (f"the builder {NODE}", FOREIGN)):
        steps = {target.name: target for target in report.targets or () if target.node == machine}
        assert set(steps) == set(report.graph)
        assert {step.platform for step in steps.values()} == {platform.value}
        assert {step.state for step in steps.values()} <= {DONE, CACHED}
    assert steps["base"].state == DONE
    assert steps["base"].seconds > 0
    assert site.host.invoke("report").returncode == 0
    sizes = {image.name.rpartition("-")[2]: image.size for image in last_report(site).images}
    assert set(sizes) == {"amd64", "arm64"}
    for size in sizes.values():
        assert size is not None
        assert size.layers[0].name == "root image"
        assert size.packed > 10**8


def test_an_engine_that_dies_in_the_middle_ends_the_build_and_nothing_has_a_tag(site: Site) -> None:
    """Last test: the engine is not started again, and the network of its registry ends with it."""
    site.node.empty()
    stderr_lines: list[str] = []
    killed = threading.Event()
    process = subprocess.Popen(
        site.host.command(*site.arguments("elsewhere")),
        cwd=site.host.folder,
        env=site.host.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stderr or ():
            stderr_lines.append(line)
            if not killed.is_set() and line.startswith(f"the builder {NODE} | ") and "] RUN " in line:
                killed.set()
                process_module.run(
                    process_module.Command(
                        argv=("env", f"--chdir={site.node.folder}", *site.node.command("engine.down"))
                    )
                )
    text = "".join(stderr_lines)
    assert killed.is_set(), text[-3000:]
    assert process.returncode == 3, text[-3000:]
    assert f"The builder {NODE} no longer answers. No image got a tag in a registry" in text
    assert f"error: the builder {NODE}: The command ended with exit code" in text
    assert "The others were stopped: the engine of this machine." in text
    assert site.tags("elsewhere") == []
    report = last_report(site)
    assert report.failure is not None
    assert f"The builder {NODE} no longer answers" in report.failure.message
    reasons = {node.name: node.unknown_reason for node in report.nodes}
    assert reasons["the engine of this machine"] == ""
    assert reasons[f"the builder {NODE}"] != ""
    assert {target.node for target in report.targets or ()} == {"the engine of this machine"}
