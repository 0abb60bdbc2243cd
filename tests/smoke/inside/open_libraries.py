"""Every extension module of the environment, opened once with all its symbols (RTLD_NOW), torch first.

open_libraries.py [FOLDER...]: one JSON document on the last line of standard output. Without folders: those of
installed packages, and NIXL's where an image has it outside of them.

An import looks a symbol up when it is needed: one that is missing is found when a request calls it. Each library is
opened in a process of its own, which has torch loaded already, so that none helps or breaks another.
"""

import ctypes
import importlib
import importlib.util
import json
import os
import signal
import sys
import sysconfig
from pathlib import Path

SECONDS = 300
"""A library that takes longer is reported; an emulated one takes about ten times as long as others."""
HEADER = 20
"""Bytes of an ELF header up to the machine that a file is for (System V ABI)."""


def main() -> None:
    folders = [Path(folder) for folder in sys.argv[1:]] or installed()
    first = import_torch()
    files = libraries(folders)
    failed = {} if first is None else {"import torch": first}
    for start in range(0, len(files), os.cpu_count() or 1):
        batch = [(file, *begin(file)) for file in files[start : start + (os.cpu_count() or 1)]]
        failed |= {str(file): error for file, *opening in batch if (error := result(*opening))}
    print(json.dumps({"opened": len(files), "failed": failed}), flush=True)


def installed() -> list:
    """Return the folders of installed packages, and of NIXL."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), os.environ.get("NIXL_PREFIX", "")]
    return [Path(folder).resolve() for folder in dict.fromkeys(folders) if folder]


def import_torch() -> str | None:
    """Load torch if there is one, because other packages need its libraries and symbols; return its error."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        importlib.import_module("torch")
    except Exception as error:  # noqa: BLE001 - whatever it raises is the answer
        return f"{type(error).__name__}: {error}"
    return None


def libraries(folders: list) -> list:
    """Return the libraries for this machine that are no link, each once; others are data (code of other machines)."""
    own = elf(Path(sys.executable))
    files = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.so")):
            if file.is_file() and not file.is_symlink() and elf(file) == own:
                status = file.stat()
                files.setdefault((status.st_dev, status.st_ino), file)
    return list(files.values())


def elf(file: Path) -> tuple:
    """Return the mark, the word's size and order, and the machine of a file."""
    with file.open("rb") as stream:
        header = stream.read(HEADER)
    return header[:6], header[18:]


def begin(file: Path) -> tuple:
    """Open a library in a new process; return its process id and the pipe with its error."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    error = ""
    try:
        signal.alarm(SECONDS)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # what a library prints is no answer
            os.dup2(null, stream)
        ctypes.CDLL(str(file), mode=os.RTLD_NOW)
    except BaseException as failure:  # noqa: BLE001 - the process must end here
        error = str(failure) or repr(failure)
    os.write(writing, error.encode()[:4000])
    os._exit(0)


def result(process: int, reading: int) -> str:
    """Return the error of an opening; '' for none."""
    with os.fdopen(reading, "rb") as stream:
        error = stream.read().decode(errors="replace")
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return f"did not end within {SECONDS} s"
    return f"ended by signal {-code}" if code < 0 else error


if __name__ == "__main__":
    main()
