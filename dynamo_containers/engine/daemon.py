"""Daemon of the private engine: started, found again, stopped.

It runs in its own process, mount and network namespaces (init.sh), so it never touches the host's firewall, bridges,
mounts or network settings, the engines of several checkouts run side by side, and ending one process ends all.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import process as process_module
from dynamo_containers import progress
from dynamo_containers.engine import endpoint
from dynamo_containers.errors import NoEngineError
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_containers.engine.paths import Place

INIT = Path(__file__).with_name("init.sh")
NAMESERVER = "10.0.2.3"
"""Where slirp4netns answers name queries (slirp4netns(1))."""

START_SECONDS = 60
STOP_SECONDS = 15
KILL_SECONDS = 10
POLL_SECONDS = 0.02
LOG_LINES = 15
CGROUPS = Path("/sys/fs/cgroup")
OPT = Path("/opt/containerd")
"""containerd makes this folder, empty, wherever its configuration says its things are."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that cannot be mistaken: its id, and its start time in clock ticks since boot."""

    pid: int
    start: int


def daemon_config(place: Place) -> str:
    """Return dockerd's configuration file."""
    settings = {
        "hosts": [place.host],
        "data-root": str(place.data),
        "exec-root": str(place.run / "exec"),
        "pidfile": str(place.run / "docker.pid"),
        "features": {"containerd-snapshotter": True},  # images of several platforms; zstd; attestations
        "dns": [NAMESERVER],
        "mtu": 65520,  # that of slirp4netns's device: a third faster than 1500, and it ends all connections itself
        "cgroup-parent": place.cgroup,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],  # systemd could not be reached from the namespaces
        "builder": {
            "gc": {
                "enabled": True,
                "defaultReservedSpace": "20GB",
                "defaultMaxUsedSpace": "60GB",
                "defaultMinFreeSpace": "10GB",
            }
        },
        "log-level": "info",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "shutdown-timeout": 10,
    }
    return json.dumps(settings, indent=2) + "\n"


def resolv_conf(host: str) -> str:
    """Return the host's resolver configuration with slirp4netns's server in place of the host's own."""
    kept = [line for line in host.splitlines() if line.split()[:1] in (["search"], ["domain"], ["options"])]
    return "\n".join([f"nameserver {NAMESERVER}", *kept]) + "\n"


def client_config(user: dict[str, Any], plugin_folder: str) -> str:
    """Return the docker CLI's configuration: the user's own (logins, proxies), and where the private buildx is."""
    folders = [folder for folder in endpoint.plugin_folders(user) if folder != plugin_folder]
    return json.dumps({**user, "cliPluginsExtraDirs": [plugin_folder, *folders]}, indent=2) + "\n"


def write_client_config(place: Place) -> None:
    """Write the private DOCKER_CONFIG, unless this runs in it already. It may hold logins: nobody else reads it."""
    user = endpoint.config_folder(os.environ)
    if user == place.docker_config:
        return
    place.docker_config.mkdir(parents=True, exist_ok=True)
    place.docker_config.chmod(0o700)
    own, contexts = endpoint.read_config(place.docker_config), place.docker_config / "contexts"
    text = client_config({**own, **endpoint.read_config(user)}, str(place.client / endpoint.PRIVATE_PLUGINS))
    process_module.write(process_module.Document(path=place.docker_config / "config.json", text=text))
    if not contexts.is_symlink() and not contexts.exists():
        contexts.symlink_to(user / "contexts")


def parse_record(text: str) -> Process | None:
    """Read what the engine's first process wrote of itself; None: it is not whole."""
    fields = text.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):  # noqa: PLR2004 - id and start time
        return None
    return Process(pid=int(fields[0]), start=int(fields[1]))


def parse_stat(text: str) -> tuple[str, int, int]:
    """Return state, parent and start time from /proc/PID/stat; the program name before them may hold anything."""
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def recorded(place: Place) -> Process | None:
    """Return the first process of the engine as it recorded itself."""
    try:
        return parse_record(place.record.read_text(encoding="ascii"))
    except OSError:
        return None


def lives(process: Process | None, proc: Path = Path("/proc")) -> bool:
    """Say whether this process still runs; another that was given its id is not it."""
    if process is None:
        return False
    try:
        state, _, start = parse_stat((proc / str(process.pid) / "stat").read_text(errors="replace"))
    except (OSError, IndexError):
        return False
    return start == process.start and state not in ("Z", "X")


def children(process: Process, proc: Path = Path("/proc")) -> tuple[Process, ...]:
    """Return its child processes."""
    found = []
    for stat in proc.glob("[0-9]*/stat"):
        try:
            _, parent, start = parse_stat(stat.read_text(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
        if parent == process.pid:
            found.append(Process(pid=int(stat.parent.name), start=start))
    return tuple(found)


def start(place: Place) -> None:
    """Start the engine and wait until it answers; it is ended again if that does not come to pass.

    Raises:
        NoEngineError: it did not come up; with the end of its log.
    """
    began = time.monotonic()
    try:
        if not lives(recorded(place)):
            _launch(place)
        _wait_for_answer(place, began)
    except BaseException:
        _wait(lambda: recorded(place) is not None, 1)  # interrupted before the process could record itself
        stop(place)
        raise
    progress.say(f"The private engine is ready after {time.monotonic() - began:.1f} s")


def _launch(place: Place) -> None:
    sweep(place)
    place.data.mkdir(parents=True, exist_ok=True)
    place.run.mkdir(parents=True, exist_ok=True)
    place.run.chmod(0o700)
    if not OPT.exists():
        (place.run / "made-opt").touch()
    host = Path("/etc/resolv.conf")
    for document in (
        process_module.Document(path=place.private / "daemon.json", text=daemon_config(place)),
        process_module.Document(
            path=place.run / "resolv.conf", text=resolv_conf(host.read_text(encoding="utf-8") if host.exists() else "")
        ),
    ):
        process_module.write(document)
    libraries = f"{native_platform().machine}-linux-gnu"
    argv = ("sh", str(INIT), "record", str(place.run), str(place.private), libraries)
    process_module.start(process_module.Command(argv=argv), log=place.log)
    _wait(lambda: recorded(place) is not None, KILL_SECONDS)


def _wait_for_answer(place: Place, began: float) -> None:
    while not pings(place.socket):
        if not lives(recorded(place)):
            raise _not_up(place, "it ended while starting")
        if time.monotonic() - began > START_SECONDS:
            raise _not_up(place, f"it does not answer after {START_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _not_up(place: Place, what: str) -> NoEngineError:
    lines = place.log.read_text(encoding="utf-8", errors="replace").splitlines() if place.log.exists() else []
    shown = "".join(f"    {line}\n" for line in lines[-LOG_LINES:])
    return NoEngineError(
        f"The private engine did not come up: {what}. The end of its log ({place.log}):\n{shown}"
        f"Try again with: invoke engine.up\nOr from scratch: invoke engine.down --purge\n"
        f"Or install Docker: {endpoint.INSTALL}"
    )


def pings(path: Path) -> bool:
    """Say whether a Docker Engine answers at a unix socket: it listens before it is ready."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def stop(place: Place) -> bool:
    """End the engine and sweep what it left on the machine; say whether there was something to end."""
    process = recorded(place)
    running = lives(process)
    if process and running:
        inside = children(process)  # tini, which passes the signal on to dockerd
        for child in inside:
            _signal(child, signal.SIGTERM)
        if not _wait(lambda: not lives(process), STOP_SECONDS):
            _signal(process, signal.SIGKILL)
        _wait(lambda: not any(map(lives, (process, *inside))), KILL_SECONDS)
    sweep(place)
    return running


def _signal(process: Process, number: int) -> None:
    if lives(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def network(place: Place) -> tuple[str, ...]:
    """Return the words to put in front of a command so that it runs in the network of the engine."""
    process = recorded(place)
    inside = children(process) if process and lives(process) else ()
    return ("nsenter", f"--net=/proc/{inside[0].pid}/root{place.run}/net") if inside else ()


def sweep_dead(place: Place) -> None:
    """Say and sweep it when the engine was killed, so that what follows meets a clean machine."""
    process = recorded(place)
    if process and not lives(process):
        progress.say(f"The private engine was killed or crashed; its log: {place.log}")
        sweep(place)


def sweep(place: Place) -> None:
    """Remove what an engine that no longer runs left outside of its namespaces: sockets, ids, empty cgroups."""
    if lives(recorded(place)):
        return
    made_opt = (place.run / "made-opt").exists()
    for entry in place.run.glob("*") if place.run.exists() else ():
        if not entry.name.startswith("emulates-"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for folder in (place.run, place.runtime):
        with suppress(OSError):  # not there, or not empty: another checkout's engine, or a claim of `emulation`
            folder.rmdir()
    for top in (*CGROUPS.glob(place.cgroup.lstrip("/")), *CGROUPS.glob(f"*{place.cgroup}")):
        _remove_empty(top)
    if made_opt:
        _remove_empty(OPT)


def _remove_empty(top: Path) -> None:
    """Remove a tree of folders, the deepest first; those that are in use stay. The files of a cgroup go with it."""
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
