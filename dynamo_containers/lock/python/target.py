"""Target of a lock in pip's terms: markers, Python version, wheel tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pip._internal.models.target_python import TargetPython

from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from dynamo_containers.facts.locks.python_lock import LockTarget

OLDEST_GLIBC = {Platform.AMD64: 5, Platform.ARM64: 17}
"""The oldest manylinux tag, as glibc 2.x (PEP 600)."""
LEGACY_TAGS = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Names of manylinux_2_x before PEP 600; pip also derives 2010 and 1 from 2014, and a repeated tag does no harm."""


def environment(target: LockTarget) -> dict[str, str]:
    """Return the target's environment markers (PEP 508).

    A target states `3.11`, and this uses 3.11.0, like uv: a marker such as `python_full_version < "3.11.3"` then adds a
    package that a later release may not need, and never omits one.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": ".".join(map(str, version(target))),
        "os_name": "posix",
        "platform_machine": target.platform.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": ".".join(map(str, version(target))),
        "python_version": ".".join(map(str, version(target)[:2])),
        "sys_platform": "linux",
    }


def version(target: LockTarget) -> tuple[int, int, int]:
    """Return the target's Python version in full."""
    major, minor, patch = (*map(int, target.python.split(".")), 0, 0)[:3]
    return major, minor, patch


def platform_tags(target: LockTarget) -> list[str]:
    """Return the platform part of the wheel tags that the target accepts, best first."""
    newest = int(target.glibc.removeprefix("2."))
    tags = []
    for minor in range(newest, OLDEST_GLIBC[target.platform] - 1, -1):
        tags += [f"manylinux_2_{minor}", *([LEGACY_TAGS[minor]] if minor in LEGACY_TAGS else [])]
    return [f"{tag}_{target.platform.machine}" for tag in (*tags, "linux")]


def target_python(target: LockTarget) -> TargetPython:
    """Return the target as pip's own class."""
    major, minor, _ = version(target)
    return TargetPython(
        platforms=platform_tags(target),
        py_version_info=version(target),
        abis=[f"cp{major}{minor}"],
        implementation="cp",
    )
