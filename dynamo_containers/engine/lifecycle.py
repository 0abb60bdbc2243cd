"""Order of the work of `engine.up` and `engine.down`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynamo_containers import file_lock, progress
from dynamo_containers.engine import daemon, docker_cli, emulation, endpoint, host_checks, status_report
from dynamo_containers.errors import NoEngineError
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_containers.engine.paths import Place
    from dynamo_containers.platforms import Platform

BUSY_SECONDS = 180


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Let one `engine` command at a time work on the checkout.

    Raises:
        BusyError: another one did not end in time.
    """
    with file_lock.held(place.lock, "another `invoke engine...` of this checkout", seconds=BUSY_SECONDS):
        yield


def up(place: Place, platforms: tuple[Platform, ...]) -> None:
    """Make sure that an engine answers and can run the platforms."""
    found = endpoint.choose(endpoint.look(place))
    if found is None or found.private:
        _ensure_private(place)
    elif not endpoint.has_tools(os.environ):
        ensure_client(place)
    used = _emulate(place, platforms)
    _say(f"Using the Docker Engine at {used.host}: {used.reason}")


def _emulate(place: Place, platforms: tuple[Platform, ...]) -> endpoint.Endpoint:
    used = endpoint.required(endpoint.choose(endpoint.look(place)))
    for platform in platforms:
        if platform is not native_platform():
            _ensure_emulation(place, used, platform)
    return used


def ready_for(place: Place, platforms: tuple[Platform, ...]) -> None:
    """Make sure that the engine can build and keep an image of these platforms."""
    _emulate(place, platforms)
    if len(platforms) > 1 and not status_report.supports_multi_platform_images(docker_cli.connect(place)):
        message = (
            "This Docker Engine cannot store images of several platforms, because it uses the classic image store.\n"
            'Enable the feature "containerd-snapshotter" (https://docs.docker.com/engine/storage/containerd/), or '
            "build one platform at a time."
        )
        raise NoEngineError(message)


def _ensure_private(place: Place) -> None:
    if not (daemon.lives(daemon.recorded(place)) and daemon.pings(place.socket)):
        daemon.sweep_dead(place)
        system = host_checks.examine_system()
        host_checks.refuse(system)
        host_checks.refuse(host_checks.examine_kernel(system, place))
        if not (place.root.exists() and place.client.exists()):
            _provide(place, system.release)
        daemon.start(place)
    daemon.write_client_config(place)


def _provide(place: Place, release: str) -> None:
    """Fetch and unpack the programs."""
    from dynamo_containers.engine import packages  # a download library is slow to import

    host_checks.check_space(place)
    _say("Providing a private Docker Engine from Debian's packages")
    packages.provide_client(place)
    packages.provide_daemon(place, release)
    packages.forget_lists(place)


def ensure_client(place: Place) -> None:
    """Provide the docker CLI and buildx for an engine of the user's own."""
    if not place.client.exists():
        from dynamo_containers.engine import packages  # a download library is slow to import

        _say("Providing the docker CLI and buildx from Debian's packages")
        packages.provide_client(place)
        packages.forget_lists(place)
    daemon.write_client_config(place)


def _ensure_emulation(place: Place, used: endpoint.Endpoint, platform: Platform) -> None:
    """Make the platform's programs run; what handles them already is used as it is found.

    Raises:
        NoEngineError: nothing does, and it cannot be mended from here.
    """
    found = emulation.handler(emulation.entries(), platform)
    if found is None and not used.private and _builds(place, platform):
        return  # an engine in a virtual machine or on another host has its own handlers
    _emulate_here(place, platform, local=used.local)


def emulate(place: Place, platforms: tuple[Platform, ...]) -> None:
    """Make this machine run the programs of the platforms, for what needs no engine."""
    for platform in platforms:
        if platform is not native_platform():
            _emulate_here(place, platform, local=True)


def _emulate_here(place: Place, platform: Platform, *, local: bool) -> None:
    found = emulation.handler(emulation.entries(), platform)
    if found is None:
        system = host_checks.examine_system()
        refuse_emulation(platform, system, local=local)
        emulation.claim(place, platform)  # first, so that `down` finds it however this is interrupted
        _register(place, platform, system.release)
    if found == emulation.handler_name(platform):
        emulation.claim(place, platform)


def _builds(place: Place, platform: Platform) -> bool:
    return platform.value in status_report.engine_platforms(docker_cli.connect(place))


def refuse_emulation(platform: Platform, system: host_checks.Host, *, local: bool) -> None:
    """Do nothing where an emulator can be registered from here.

    Raises:
        NoEngineError: it cannot; with how to do it.
    """
    reasons = (
        (not local, "the engine runs on another machine"),
        (not system.root, "you are not root"),
        (system.distribution != "debian", "this is no Debian, from which one could be fetched"),
    )
    reason = next((reason for holds, reason in reasons if holds), None)
    if reason is None:
        return
    message = (
        f"{platform.value} cannot be run: no emulator is registered for it, and {reason}.\n"
        "As root, on the machine of the engine: apt-get install qemu-user-static binfmt-support\n"
        "Or: https://docs.docker.com/build/building/multi-platform/#qemu"
    )
    raise NoEngineError(message)


def _register(place: Place, platform: Platform, release: str) -> None:
    from dynamo_containers.engine import packages  # a download library is slow to import

    emulation.register(place, platform, packages.provide_emulator(place, release, platform))
    packages.forget_lists(place)


def down(place: Place) -> None:
    """Stop the private engine and take back what `up` changed on the machine.

    Raises:
        NoEngineError: it belongs to root, and you are somebody else.
    """
    if place.run.exists() and os.geteuid():
        message = "The private engine of this checkout was started by root.\nStop it as root: invoke engine.down"
        raise NoEngineError(message)
    stopped = daemon.stop(place)
    if os.geteuid() == 0:  # nobody else could have registered anything
        emulation.release(place)
        daemon.sweep(place)
    _say("The private engine is stopped" if stopped else "No private engine of this checkout runs")


def _say(line: str) -> None:
    progress.say(line)
