"""Order of the work of `engine.up` and `engine.down`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynamo_containers import file_lock, integrity, progress
from dynamo_containers.engine import daemon, emulation, endpoint, host_checks, status_report
from dynamo_containers.errors import NoEngineError
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.engine.paths import EnginePaths
    from dynamo_containers.platforms import Platform

BUSY_SECONDS = 180


@contextmanager
def locked(paths: EnginePaths) -> Iterator[None]:
    """Allow only one `engine` command at a time in the checkout.

    Raises:
        BusyError: another command did not end in time.
    """
    with file_lock.hold(paths.lock, "another `invoke engine...` of this checkout", seconds=BUSY_SECONDS):
        yield


def up(paths: EnginePaths, platforms: tuple[Platform, ...]) -> None:
    """Make sure that an engine answers and can run the platforms."""
    running = endpoint.choose(endpoint.detect(paths))
    if running is None or running.private:
        _ensure_private(paths)
    elif not endpoint.has_tools(os.environ):
        ensure_client(paths)
    used = _emulate(paths, platforms)
    _say(f"Using the Docker Engine at {used.host}: {used.reason}")


def _emulate(paths: EnginePaths, platforms: tuple[Platform, ...]) -> endpoint.Endpoint:
    used = endpoint.require(endpoint.choose(endpoint.detect(paths)))
    for platform in platforms:
        if platform is not native_platform():
            _ensure_emulation(paths, used, platform)
    return used


def ready_for(paths: EnginePaths, platforms: tuple[Platform, ...]) -> None:
    """Make sure that the engine can build and store an image of these platforms."""
    _emulate(paths, platforms)
    if len(platforms) > 1 and not status_report.supports_multi_platform_images(endpoint.connect(paths)):
        message = (
            "This Docker Engine cannot store images of several platforms, because it uses the classic image store.\n"
            'Enable the feature "containerd-snapshotter" (https://docs.docker.com/engine/storage/containerd/), or '
            "build one platform at a time."
        )
        raise NoEngineError(message)


def _ensure_private(paths: EnginePaths) -> None:
    if not (daemon.lives(daemon.recorded(paths)) and daemon.pings(paths.socket)):
        daemon.sweep_dead(paths)
        system = host_checks.examine_system()
        host_checks.refuse(system)
        host_checks.refuse(host_checks.examine_kernel(system, paths))
        if not (integrity.is_sealed(paths.root) and integrity.is_sealed(paths.client)):
            _provide(paths, system.release)
        daemon.start(paths)
    daemon.write_client_config(paths)


def _provide(paths: EnginePaths, release: str) -> None:
    """Download and unpack the packages of the private engine."""
    from dynamo_containers.engine import packages  # a download library is slow to import

    host_checks.check_space(paths)
    _say("Providing a private Docker Engine from Debian's packages")
    packages.provide_client(paths)
    packages.provide_daemon(paths, release)
    packages.forget_lists(paths)


def ensure_client(paths: EnginePaths) -> None:
    """Provide the docker CLI and buildx for an engine of the user."""
    if not integrity.is_sealed(paths.client):
        from dynamo_containers.engine import packages  # a download library is slow to import

        _say("Providing the docker CLI and buildx from Debian's packages")
        packages.provide_client(paths)
        packages.forget_lists(paths)
    daemon.write_client_config(paths)


def _ensure_emulation(paths: EnginePaths, used: endpoint.Endpoint, platform: Platform) -> None:
    """Make sure that binaries of a platform run; an emulator that is already registered is used.

    Raises:
        NoEngineError: there is no emulator, and none can be registered from here.
    """
    handler = emulation.handler(emulation.entries(), platform)
    if handler is None and not used.private and _builds(paths, platform):
        return  # an engine in a virtual machine or on another host has its own handlers
    _emulate_here(paths, platform, local=used.local)


def emulate(paths: EnginePaths, platforms: tuple[Platform, ...]) -> None:
    """Make sure that this machine runs binaries of the platforms, for work without an engine."""
    for platform in platforms:
        if platform is not native_platform():
            _emulate_here(paths, platform, local=True)


def _emulate_here(paths: EnginePaths, platform: Platform, *, local: bool) -> None:
    handler = emulation.handler(emulation.entries(), platform)
    if handler is None:
        system = host_checks.examine_system()
        refuse_emulation(platform, system, local=local)
        emulation.claim(paths, platform)  # first, so that `down` finds it however this is interrupted
        _register(paths, platform, system.release)
    if handler == emulation.handler_name(platform):
        emulation.claim(paths, platform)


def _builds(paths: EnginePaths, platform: Platform) -> bool:
    return platform.value in status_report.engine_platforms(endpoint.connect(paths))


def refuse_emulation(platform: Platform, system: host_checks.HostFeatures, *, local: bool) -> None:
    """Refuse a platform whose emulator cannot be registered from here.

    Raises:
        NoEngineError: with the reason, and the commands to run elsewhere.
    """
    reasons = (
        (not local, "the engine runs on another machine"),
        (not system.root, "you are not root"),
        (system.distribution != "debian", "this host is not Debian, which could provide one"),
    )
    reason = next((reason for holds, reason in reasons if holds), None)
    if reason is None:
        return
    message = (
        f"{platform.value} cannot run here: no emulator is registered for it, and {reason}.\n"
        "As root, on the machine of the engine: apt-get install qemu-user-static binfmt-support\n"
        "Or: https://docs.docker.com/build/building/multi-platform/#qemu"
    )
    raise NoEngineError(message)


def _register(paths: EnginePaths, platform: Platform, release: str) -> None:
    from dynamo_containers.engine import packages  # a download library is slow to import

    emulation.register(paths, platform, packages.provide_emulator(paths, release, platform))
    packages.forget_lists(paths)


def down(paths: EnginePaths) -> None:
    """Stop the private engine and undo the changes of `up` on the machine.

    Raises:
        NoEngineError: root started it, and you are not root.
    """
    if paths.run.exists() and os.geteuid():
        message = "The private engine of this checkout was started by root.\nStop it as root: invoke engine.down"
        raise NoEngineError(message)
    stopped = daemon.stop(paths)
    daemon.forget_logins(paths)
    if os.geteuid() == 0:  # nobody else could have registered anything
        emulation.release(paths)
        daemon.sweep(paths)
    _say("The private engine is stopped" if stopped else "The private engine of this checkout does not run")


def _say(line: str) -> None:
    progress.say(line)
