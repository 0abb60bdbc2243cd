"""Emulation of foreign architectures: detection and registration of emulators.

The kernel runs binaries of a foreign architecture with an interpreter that is registered in binfmt_misc. The register
belongs to the kernel, not to an engine: containers, builds and the bootstrap of root images all use it. So a handler is
added only if there is none, under a name of our own, and removed when the last checkout that uses it releases it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo_containers import process, progress
from dynamo_containers.errors import NoEngineError
from dynamo_containers.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_containers.engine.paths import EnginePaths

BINFMT = Path("/proc/sys/fs/binfmt_misc")
OWN = "dynamo-containers-"
FLAGS = "POCF"
"""P: pass argv[0] on. O: pass an open file. C: set-uid programs (sudo) keep their rights. F: open the interpreter now,
so that it need not exist in a container (kernel: admin-guide/binfmt-misc)."""

MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x{machine:02x}\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
ELF = "7f454c460201"
MACHINE_AT = slice(36, 40)
"""e_machine, two bytes at 18, in the hexadecimal form in which the kernel shows a magic."""


def handler_name(platform: Platform) -> str:
    """Return the name of our handler."""
    return f"{OWN}{platform.machine}"


def registration(platform: Platform, interpreter: str) -> str:
    """Return the line that registers an interpreter; the kernel decodes the escapes."""
    magic = MAGIC.format(machine=platform.elf_machine)
    return f":{handler_name(platform)}:M::{magic}:{MASK}:{interpreter}:{FLAGS}"


def emulates(entry: str, platform: Platform) -> bool:
    """Say whether a handler, as the kernel shows it, is enabled, for this platform, and works in containers."""
    fields = dict(line.split(" ", 1) for line in entry.splitlines() if " " in line)
    magic = fields.get("magic", "")
    return (
        entry.startswith("enabled\n")
        and "F" in fields.get("flags:", "")
        and fields.get("offset") == "0"
        and magic.startswith(ELF)
        and magic[MACHINE_AT] == f"{platform.elf_machine:02x}00"
    )


def handler(entries: Mapping[str, str], platform: Platform) -> str | None:
    """Return the name of a handler for the platform, preferably not ours; None if there is none."""
    names = sorted((name for name, entry in entries.items() if emulates(entry, platform)), key=_ours)
    return names[0] if names else None


def _ours(name: str) -> bool:
    return name.startswith(OWN)


def entries(folder: Path = BINFMT) -> dict[str, str]:
    """Return the handlers in the kernel: name -> text."""
    files = (file for file in folder.glob("*") if file.name not in ("register", "status"))
    return {file.name: file.read_text(encoding="ascii", errors="replace") for file in files}


def register(paths: EnginePaths, platform: Platform, interpreter: Path) -> None:
    """Register an interpreter.

    Raises:
        NoEngineError: the kernel has no binfmt_misc.
    """
    mount(paths)
    progress.say(f"Registering {interpreter.name} so that this machine runs {platform.value}")
    _write(BINFMT / "register", registration(platform, str(interpreter)))


def mount(paths: EnginePaths) -> None:
    """Mount binfmt_misc where it belongs, unless it is; its handlers live only as long as it is mounted (Linux 6.7)."""
    if (BINFMT / "register").exists():
        return
    argv = ("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
    if not process.succeeds(process.Command(argv=argv)):
        message = (
            "This kernel cannot run binaries of another architecture: it has no CONFIG_BINFMT_MISC.\n"
            "Build for the platform of this machine, or on a machine of the other platform."
        )
        raise NoEngineError(message)
    paths.runtime.mkdir(exist_ok=True)
    _mounted(paths).touch()


def _mounted(paths: EnginePaths) -> Path:
    return paths.runtime / "mounted-binfmt"


def claim(paths: EnginePaths, platform: Platform) -> None:
    """Record that this checkout uses our handler."""
    paths.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    _claim(paths.run, platform).touch()


def _claim(folder: Path, platform: Platform) -> Path:
    return folder / f"emulates-{platform.machine}"


def release(paths: EnginePaths) -> None:
    """Remove the claims of this checkout, and the handlers and the mount that no other checkout claims."""
    for platform in Platform:
        claim_file = _claim(paths.run, platform)
        if not claim_file.exists():
            continue
        claim_file.unlink()
        if any(_claim(folder, platform).exists() for folder in paths.runtime.iterdir()):
            continue
        own = BINFMT / handler_name(platform)
        if own.exists():
            _write(own, "-1")  # removes the handler
    _unmount(paths)


def _unmount(paths: EnginePaths) -> None:
    claimed = any(_claim(folder, platform).exists() for folder in paths.runtime.glob("*") for platform in Platform)
    if _mounted(paths).exists() and not claimed:
        process.succeeds(process.Command(argv=("umount", str(BINFMT))))
        _mounted(paths).unlink()


def _write(path: Path, text: str) -> None:
    """Write in one call, as the kernel requires; its files cannot be replaced."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
