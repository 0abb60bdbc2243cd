"""Target of a lock in pip's terms: markers, Python version, wheel tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pip._internal.models.target_python import TargetPython
from pip._vendor.packaging.markers import Marker

from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.facts.locks.python_lock import LockTarget

OLDEST_GLIBC = {Platform.AMD64: 5, Platform.ARM64: 17}
"""The oldest manylinux tag, as glibc 2.x (PEP 600)."""
LEGACY_TAGS = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Names of manylinux_2_x before PEP 600; pip also derives 2010 and 1 from 2014, and a repeated tag does no harm."""


def environment(target: LockTarget) -> dict[str, str]:
    """Return the target's environment markers (PEP 508).

    Where nobody knows the patch release, as in `3.11`, this uses 3.11.0, like uv; `record_patch_markers` then finds the
    markers that depend on it. The kernel is that of the machine that runs the image, so its markers have no value.
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


def record_patch_markers(target: LockTarget) -> dict[str, None]:
    """Let pip's markers record, in this process, those that depend on a patch release that nobody knows.

    Returns:
        The markers; it fills while pip resolves.
    """
    found: dict[str, None] = {}
    plain = Marker.evaluate
    latest = ".".join((*map(str, version(target)[:2]), "999"))

    def evaluate(marker: Marker, environment: Mapping[str, Any] | None = None, **options: Any) -> bool:  # noqa: ANN401 - pip's own
        holds = plain(marker, environment, **options)
        text = str(marker)
        if "python_full_version" in text or "implementation_version" in text:
            other = {"python_full_version": latest, "implementation_version": latest, **(environment or {})}
            if plain(marker, other, **options) != holds:
                found[text] = None
        return holds

    Marker.evaluate = evaluate  # type: ignore[assignment,method-assign]
    return found


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
