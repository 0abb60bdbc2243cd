"""Daemon of the private engine: start, detection, stop.

It runs in its own process, mount and network namespaces (init.sh). So the firewall, bridges, mounts and network
settings of the host do not change, engines of several checkouts run side by side, and ending one process ends all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_containers import file_reader, progress
from dynamo_containers import process as process_module
from dynamo_containers.engine import endpoint
from dynamo_containers.errors import NoEngineError
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_containers.engine.paths import EnginePaths

INIT = Path(__file__).with_name("init.sh")
NAMESERVER = "10.0.2.3"
"""The DNS server of slirp4netns (slirp4netns(1))."""

START_SECONDS = 60
STOP_SECONDS = 15
KILL_SECONDS = 10
POLL_SECONDS = 0.02
LOG_LINES = 15
CGROUPS = Path("/sys/fs/cgroup")
OPT = Path("/opt/containerd")
"""containerd creates this empty folder, whatever its configuration is."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, identified by its id and its start time in clock ticks since boot."""

    pid: int
    start: int


def daemon_config(paths: EnginePaths) -> str:
    """Return the text of the configuration file of dockerd."""
    settings = {
        "hosts": [paths.host],
        "data-root": str(paths.data),
        "exec-root": str(paths.run / "exec"),
        "pidfile": str(paths.run / "docker.pid"),
        "features": {"containerd-snapshotter": True},  # images of several platforms; zstd; attestations
        "dns": [NAMESERVER],
        "mtu": 65520,  # that of slirp4netns's device: a third faster than 1500, and it ends all connections itself
        "cgroup-parent": paths.cgroup,
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
    """Return the resolver configuration of the host, with the server of slirp4netns instead of those of the host."""
    options = [line for line in host.splitlines() if line.split()[:1] in (["search"], ["domain"], ["options"])]
    return "\n".join([f"nameserver {NAMESERVER}", *options]) + "\n"


def client_config(user: dict[str, Any], plugin_folder: str) -> str:
    """Return the configuration of the docker CLI: that of the user (logins, proxies) and the private buildx."""
    folders = [folder for folder in endpoint.plugin_folders(user) if folder != plugin_folder]
    return json.dumps({**user, "cliPluginsExtraDirs": [plugin_folder, *folders]}, indent=2) + "\n"


def write_client_config(paths: EnginePaths) -> None:
    """Write the private DOCKER_CONFIG, unless it is in use. Only its owner can read it: it may contain logins."""
    user = endpoint.config_folder(os.environ)
    if user == paths.docker_config:
        return
    paths.docker_config.mkdir(parents=True, exist_ok=True)
    paths.docker_config.chmod(0o700)
    own, contexts = endpoint.read_config(paths.docker_config), paths.docker_config / "contexts"
    text = client_config({**own, **endpoint.read_config(user)}, str(paths.client / endpoint.PRIVATE_PLUGINS))
    process_module.write(process_module.Document(path=paths.docker_config / "config.json", text=text, mode=0o600))
    if not contexts.is_symlink() and not contexts.exists():
        contexts.symlink_to(user / "contexts")


def forget_logins(paths: EnginePaths) -> None:
    """Remove the logins that were copied from the user's configuration; the next `up` copies them again."""
    own, user = endpoint.read_config(paths.docker_config), endpoint.config_folder(os.environ)
    logins = own.get("auths")
    if user == paths.docker_config or not isinstance(logins, dict):
        return
    copied = endpoint.read_config(user).get("auths") or {}
    kept = {registry: login for registry, login in logins.items() if copied.get(registry) != login}
    text = json.dumps({**own, "auths": kept}, indent=2) + "\n"
    process_module.write(process_module.Document(path=paths.docker_config / "config.json", text=text, mode=0o600))


def parse_record(text: str) -> Process | None:
    """Parse the record of the first process of the engine; None if it is incomplete."""
    match = re.fullmatch(r"([0-9]{1,20})\s+([0-9]{1,20})\s*", text)
    return Process(pid=int(match[1]), start=int(match[2])) if match else None


def parse_stat(text: str) -> tuple[str, int, int]:
    """Return state, parent and start time from /proc/PID/stat; the name before them may have any character."""
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def recorded(paths: EnginePaths) -> Process | None:
    """Return the first process of the engine from its record; None if there is no record."""
    text = file_reader.cached_text(paths.record)
    return parse_record(text) if text is not None else None


def lives(process: Process | None, proc: Path = Path("/proc")) -> bool:
    """Say whether a process still runs; a later process with the same id does not count."""
    if process is None:
        return False
    try:
        state, _, start = parse_stat((proc / str(process.pid) / "stat").read_text(errors="replace"))
    except (OSError, IndexError):
        return False
    return start == process.start and state not in ("Z", "X")


def children(process: Process, proc: Path = Path("/proc")) -> tuple[Process, ...]:
    """Return its child processes."""
    processes = []
    for stat in proc.glob("[0-9]*/stat"):
        try:
            _, parent, start = parse_stat(stat.read_text(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
        if parent == process.pid:
            processes.append(Process(pid=int(stat.parent.name), start=start))
    return tuple(processes)


def start(paths: EnginePaths) -> None:
    """Start the engine and wait until it answers; stop it if it does not.

    Raises:
        NoEngineError: it did not start; with the end of its log.
    """
    began = time.monotonic()
    try:
        if not lives(recorded(paths)):
            _launch(paths)
        _wait_for_answer(paths, began)
    except BaseException:
        _wait(lambda: recorded(paths) is not None, 1)  # interrupted before the process could record itself
        stop(paths)
        raise
    progress.say(f"The private engine is ready after {time.monotonic() - began:.1f} s")


def _launch(paths: EnginePaths) -> None:
    sweep(paths)
    paths.data.mkdir(parents=True, exist_ok=True)
    paths.run.mkdir(parents=True, exist_ok=True)
    paths.run.chmod(0o700)
    if not OPT.exists():
        (paths.run / "made-opt").touch()
    host = Path("/etc/resolv.conf")
    for document in (
        process_module.Document(path=paths.private / "daemon.json", text=daemon_config(paths)),
        process_module.Document(path=paths.run / "resolv.conf", text=resolv_conf(file_reader.cached_text(host) or "")),
    ):
        process_module.write(document)
    libraries = f"{native_platform().machine}-linux-gnu"
    argv = ("sh", str(INIT), "record", str(paths.run), str(paths.private), libraries)
    process_module.start(process_module.Command(argv=argv), log=paths.log)
    _wait(lambda: recorded(paths) is not None, KILL_SECONDS)


def _wait_for_answer(paths: EnginePaths, began: float) -> None:
    while not pings(paths.socket):
        if not lives(recorded(paths)):
            raise _not_up(paths, "it ended during its start")
        if time.monotonic() - began > START_SECONDS:
            raise _not_up(paths, f"it does not answer after {START_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _not_up(paths: EnginePaths, reason: str) -> NoEngineError:
    lines = paths.log.read_text(encoding="utf-8", errors="replace").splitlines() if paths.log.exists() else []
    shown = "".join(f"    {line}\n" for line in lines[-LOG_LINES:])
    return NoEngineError(
        f"The private engine did not start: {reason}. The end of its log ({paths.log}):\n{shown}"
        f"Try again with: invoke engine.up\nOr from scratch: invoke engine.down --purge\n"
        f"Or install Docker: {endpoint.INSTALL}"
    )


def pings(path: Path) -> bool:
    """Say whether a Docker Engine answers at a unix socket; it listens before it is ready."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def stop(paths: EnginePaths) -> bool:
    """Stop the engine and remove its files in system folders; return whether it was running."""
    process = recorded(paths)
    running = lives(process)
    if process and running:
        inside = children(process)  # tini, which passes the signal on to dockerd
        for child in inside:
            _signal(child, signal.SIGTERM)
        if not _wait(lambda: not lives(process), STOP_SECONDS):
            _signal(process, signal.SIGKILL)
        _wait(lambda: not any(map(lives, (process, *inside))), KILL_SECONDS)
    sweep(paths)
    return running


def _signal(process: Process, number: int) -> None:
    if lives(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def network(paths: EnginePaths) -> tuple[str, ...]:
    """Return the words to put before a command so that it runs in the network of the engine."""
    process = recorded(paths)
    inside = children(process) if process and lives(process) else ()
    return ("nsenter", f"--net=/proc/{inside[0].pid}/root{paths.run}/net") if inside else ()


def sweep_dead(paths: EnginePaths) -> None:
    """Report an engine that was killed, and remove its files in system folders."""
    process = recorded(paths)
    if process and not lives(process):
        progress.say(f"The private engine was killed or crashed; its log: {paths.log}")
        sweep(paths)


def sweep(paths: EnginePaths) -> None:
    """Remove the files that a stopped engine left outside of its namespaces: sockets, process ids, empty cgroups."""
    if lives(recorded(paths)):
        return
    made_opt = (paths.run / "made-opt").exists()
    for entry in paths.run.glob("*") if paths.run.exists() else ():
        if not entry.name.startswith("emulates-"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for folder in (paths.run, paths.runtime):
        with suppress(OSError):  # not there, or not empty: another checkout's engine, or a claim of `emulation`
            folder.rmdir()
    for top in (*CGROUPS.glob(paths.cgroup.lstrip("/")), *CGROUPS.glob(f"*{paths.cgroup}")):
        _remove_empty(top)
    if made_opt:
        _remove_empty(OPT)


def _remove_empty(top: Path) -> None:
    """Remove a tree of empty folders, the deepest first. A cgroup counts as empty; folders in use stay."""
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
