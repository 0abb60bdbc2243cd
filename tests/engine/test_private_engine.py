"""A private engine is really fetched, started, used, killed and stopped. Needs root, a Debian host and its mirror.

The checkout is a copy, so that the engine somebody works with is neither used nor touched. Only the store of downloads
is shared. One engine serves all tests, in their order: up, use, crash, down.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dynamo_containers import engine
from dynamo_containers import process as process_module
from dynamo_containers.engine import daemon, emulation, endpoint
from dynamo_containers.engine.paths import EnginePaths
from dynamo_containers.errors import CommandFailedError, NoEngineError
from dynamo_containers.facts.catalogue import ROOT
from dynamo_containers.platforms import Platform, native_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

FOREIGN = next(platform for platform in Platform if platform is not native_platform())
CALL = "import sys; from pathlib import Path; from dynamo_containers import engine, platforms; "
UP = CALL + "engine.up(Path.cwd(), tuple(map(platforms.Platform, sys.argv[1:])))"
DOWN = CALL + "engine.down(Path.cwd(), purge='purge' in sys.argv)"
STATUS = CALL + "print(engine.status(Path.cwd()).json())"
BUSYBOX = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnginePaths]:
    """A copied checkout with a longer path than unix sockets allow."""
    folder = tmp_path_factory.mktemp("engine") / "/".join(["a-folder-on-the-way-to-a-deep-checkout"] * 4)
    shutil.copytree(ROOT / "dynamo_containers", folder / "dynamo_containers")
    (folder / ".build").mkdir()
    (ROOT / ".build/downloads").mkdir(parents=True, exist_ok=True)
    (folder / ".build/downloads").symlink_to(ROOT / ".build/downloads")
    yield EnginePaths(folder=folder)
    call(EnginePaths(folder=folder), DOWN, "purge")


def call(paths: EnginePaths, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a function of the library in a new process, as `invoke` does."""
    argv = (sys.executable, "-c", script, *arguments)
    return subprocess.run(argv, cwd=paths.folder, env=CLEAN, capture_output=True, text=True, check=False)


def docker(paths: EnginePaths, *arguments: str) -> str:
    """Run docker with the private engine; return its output."""
    return process_module.capture(
        process_module.Command(argv=("docker", *arguments), env=endpoint.environment(paths, CLEAN))
    )


def processes(paths: EnginePaths) -> list[str]:
    """Return the command lines with the path of the checkout or of its run folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(paths.run) in line or str(paths.private) in line:
            lines.append(line)
    return lines


def host_network() -> str:
    """Return the interfaces of the host and its IP forwarding, which a Docker Engine usually changes."""
    return str(sorted(os.listdir("/sys/class/net"))) + Path("/proc/sys/net/ipv4/ip_forward").read_text()  # noqa: PTH208


NETWORK_BEFORE = host_network()
MOUNTS_BEFORE = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
HANDLERS_BEFORE = emulation.entries()


def test_up_provides_an_engine(paths: EnginePaths) -> None:
    """The engine starts from an empty checkout and prints a few lines."""
    finished = call(paths, UP)
    assert finished.returncode == 0, finished.stderr
    assert "The private engine is ready after" in finished.stderr
    assert docker(paths, "info", "--format", "{{.Driver}}").strip() == "overlayfs"


def test_a_second_up_does_nothing_in_less_than_a_second(paths: EnginePaths) -> None:
    """It prints which engine is used."""
    before, began = daemon.recorded(paths), time.monotonic()
    finished = call(paths, UP)
    assert time.monotonic() - began < 1
    assert finished.stderr.startswith(f"Using the Docker Engine at {paths.host}")
    assert daemon.recorded(paths) == before


def test_two_ups_at_once_agree_on_one_engine(paths: EnginePaths) -> None:
    """The second waits for the first."""
    argv = (sys.executable, "-c", UP)
    both = [subprocess.Popen(argv, cwd=paths.folder, env=CLEAN, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len([line for line in processes(paths) if line.startswith("dockerd")]) == 1


def test_status_names_the_engine_and_its_platforms(paths: EnginePaths) -> None:
    """The private engine, the reason for it, and what it supports."""
    report = json.loads(call(paths, STATUS).stdout)
    assert (report["private"], report["endpoint"]) == (True, paths.host)
    assert report["reason"] == "the private engine of this checkout runs"
    assert report["containerd_image_store"] is True
    support = {row["platform"]: row["support"] for row in report["platforms"]}
    assert support[native_platform().value] == "native"
    assert {use["kind"] for use in report["disk"]} >= {"Images", "Build Cache"}
    assert report["free_bytes"] > 0


def test_a_build_reaches_the_network_and_names(paths: EnginePaths) -> None:
    """A RUN resolves the name of a mirror and fetches from it over the bridge."""
    context = paths.folder / "context"
    context.mkdir()
    shutil.copy(_busybox(paths, native_platform()), context / "busybox")
    (context / "Dockerfile").write_text(
        f"{BUSYBOX}ARG URL\nRUN wget -q -O /Release $URL && grep -q ^Codename /Release\n"
    )
    from dynamo_containers.upstream import apt  # the mirror is only used here

    url = f"{apt.host_mirrors()[apt.MAIN].replace('https:', 'http:')}/dists/stable/Release"
    docker(paths, "buildx", "build", "--no-cache", "--build-arg", f"URL={url}", "--tag", "probe:1", str(context))
    assert docker(paths, "run", "--rm", "probe:1", "echo", "runs") == "runs\n"


def _busybox(paths: EnginePaths, platform: Platform) -> Path:
    """Return a static busybox for the platform from the release of the host."""
    from dynamo_containers.engine import host_checks
    from dynamo_containers.upstream import apt  # see above
    from dynamo_containers.upstream import download as upstream_download

    folder = paths.folder / f"busybox-{platform.arch}"
    source = apt.Apt(
        folder=folder / "apt",
        suite=host_checks.examine_system().release,
        architecture=platform.arch,
        mirrors=apt.host_mirrors(),
    )
    apt.update(source)
    package = next(package for package in apt.resolve(source, ("busybox-static",)) if package.name == "busybox-static")
    download = upstream_download.Download(
        url=f"{source.mirrors[package.archive]}/{package.path}", sha256=package.sha256
    )
    process_module.run(
        process_module.Command(
            argv=("dpkg-deb", "-x", str(upstream_download.fetch(paths.downloads, download)), str(folder))
        )
    )
    return next(path for path in (folder / "bin/busybox", folder / "usr/bin/busybox") if path.exists())


def test_up_adds_emulation_to_a_running_engine(paths: EnginePaths) -> None:
    """A program of the other architecture runs in a container."""
    before = daemon.recorded(paths)
    finished = call(paths, UP, FOREIGN.value)
    assert finished.returncode == 0, finished.stderr
    assert daemon.recorded(paths) == before
    context = paths.folder / "foreign"
    context.mkdir()
    shutil.copy(_busybox(paths, FOREIGN), context / "busybox")
    (context / "Dockerfile").write_text(f"{BUSYBOX}RUN true\n")
    arguments = ("--platform", FOREIGN.value, "--tag", "foreign:1")
    docker(paths, "buildx", "build", "--no-cache", *arguments, str(context))
    shown = docker(paths, "run", "--rm", "--platform", FOREIGN.value, "foreign:1", "uname", "-m")
    assert shown.strip() == FOREIGN.machine


def test_a_published_port_is_seen_in_the_engines_own_network(paths: EnginePaths) -> None:
    """The handler is not registered on the host."""
    docker(paths, "run", "--detach", "--name", "web", "--publish", "18099:80", "probe:1", "httpd", "-f", "-p", "80")
    fetch = (
        "import urllib.request as u, urllib.error as e\n"
        "try: u.urlopen('http://127.0.0.1:18099', timeout=5)\n"
        "except e.HTTPError as error: print(error.code)"
    )
    inside = (*daemon.network(paths), sys.executable, "-c", fetch)
    assert process_module.capture(process_module.Command(argv=inside)).strip() == "404"
    assert not process_module.succeeds(process_module.Command(argv=(sys.executable, "-c", fetch)))


def test_a_killed_engine_leaves_no_process_and_up_recovers(paths: EnginePaths) -> None:
    """After kill -9 of the recorded process the engine, slirp4netns and every container end."""
    process = daemon.recorded(paths)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(1)
    assert processes(paths) == []
    assert call(paths, STATUS).returncode != 0
    finished = call(paths, UP)
    assert finished.returncode == 0, finished.stderr
    assert "probe" in docker(paths, "images", "--format", "{{.Repository}}")


def test_an_engine_that_dies_in_the_middle_of_a_build_is_told_from_a_failed_build(paths: EnginePaths) -> None:
    """The message reports the lost engine and the next command; the exit code is that of a missing engine."""
    slow = process_module.Command(
        argv=("docker", "run", "--rm", "probe:1", "sleep", "60"), env=endpoint.environment(paths, CLEAN)
    )
    process = daemon.recorded(paths)
    assert process is not None
    killer = threading.Timer(2, os.kill, (process.pid, signal.SIGKILL))
    killer.start()
    with (
        pytest.raises(NoEngineError, match="stopped answering during this command") as failure,
        engine.watched(paths.folder),
    ):
        process_module.execute(process_module.Plan(commands=(slow,)))
    assert failure.value.exit_code == 3
    assert "invoke engine.up" in str(failure.value)
    assert call(paths, UP).returncode == 0


def test_a_command_that_fails_by_itself_is_not_blamed_on_the_engine(paths: EnginePaths) -> None:
    """The failure of the command is reported unchanged."""
    failing = process_module.Command(
        argv=("docker", "run", "--rm", "probe:1", "false"), env=endpoint.environment(paths, CLEAN)
    )
    with pytest.raises(CommandFailedError), engine.watched(paths.folder):
        process_module.execute(process_module.Plan(commands=(failing,)))


def test_the_host_is_as_it_was(paths: EnginePaths) -> None:
    """No interface, no forwarding, no mount."""
    assert daemon.lives(daemon.recorded(paths))
    assert host_network() == NETWORK_BEFORE
    assert str(paths.private) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def test_down_leaves_nothing(paths: EnginePaths) -> None:
    """No process, socket, mount, cgroup or handler; a running container does not hold it up."""
    docker(paths, "run", "--detach", "probe:1", "sleep", "600")
    began = time.monotonic()
    assert call(paths, DOWN).returncode == 0
    assert time.monotonic() - began < 15 + 5
    assert processes(paths) == []
    assert not paths.run.exists()
    assert [path for path in Path("/sys/fs/cgroup").rglob(paths.cgroup.strip("/"))] == []  # noqa: C416
    assert emulation.entries().keys() <= HANDLERS_BEFORE.keys() | {emulation.handler_name(FOREIGN)}
    assert call(paths, DOWN).stderr == "The private engine of this checkout does not run\n"


def test_a_broken_up_leaves_no_process(paths: EnginePaths) -> None:
    """Ctrl-C while the engine starts."""
    for delay in (0.2, 0.35, 0.5, 0.7, 0.9):
        # Tests in the background ignore Ctrl-C, and their child processes would inherit that.
        argv = ("env", "--default-signal=INT", sys.executable, "-c", UP)
        process = subprocess.Popen(argv, cwd=paths.folder, env=CLEAN, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        if process.wait() == 0:  # it ended before the interrupt
            call(paths, DOWN)
        assert processes(paths) == []


def test_purge_removes_all_of_it(paths: EnginePaths) -> None:
    """Images and binaries are removed as well."""
    call(paths, UP)
    assert call(paths, DOWN, "purge").returncode == 0
    assert not paths.private.exists()
    assert processes(paths) == []
