"""Properties of an image, as its own Python sees them from inside; writes one JSON document.

Without arguments it answers all questions, otherwise those that are named.
"""

import getpass
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROGRAMS = {
    "etcd": ["/usr/local/bin/etcd", "--version"],
    "etcdctl": ["/usr/local/bin/etcdctl", "version"],
    "nats-server": ["/usr/bin/nats-server", "--version"],
}
COMMANDS = ["cc", "etcd", "etcdctl", "gcc", "nats-server", "pip", "python", "uv"]
SHELLS = {"login": ["bash", "-lc", "umask"], "interactive": ["bash", "-ic", "umask"]}
MODULES = ["dynamo._core", "dynamo.frontend.main", "dynamo.llm", "dynamo.runtime"]
BYTE_CODE = """
import importlib.util, json, pathlib, sys
import dynamo.frontend.main
bad = {}
for name, module in sorted(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if not file.endswith(".py") or file.startswith("/mnt/"):
        continue
    code = pathlib.Path(importlib.util.cache_from_source(file))
    stat = pathlib.Path(file).stat()
    head = code.read_bytes()[:16] if code.is_file() else b""
    times = int(stat.st_mtime).to_bytes(4, "little") + stat.st_size.to_bytes(4, "little")
    if head[:4] != importlib.util.MAGIC_NUMBER:
        bad[file] = "none"
    elif head[4:8] == bytes(4) and head[8:] != times:
        bad[file] = "older than its source"
    elif head[4:8] != b"\\1\\0\\0\\0" and file.startswith("/opt/"):
        bad[file] = "depends on file times"
print(json.dumps({"bad": bad, "modules": len(sys.modules)}))
"""


def user() -> dict:
    try:
        name = getpass.getuser()
    except KeyError as error:
        name = f"error: {error!r}"
    mask = os.umask(0o022)
    os.umask(mask)
    return {
        "cwd": str(Path.cwd()),
        "environment": dict(os.environ),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "home": str(Path.home()),
        "machine": platform.machine(),
        "name": name,
        "uid": os.getuid(),
        "umask": f"{mask:03o}",
        "writes": {folder: written_mode(Path(folder)) for folder in ("/workspace", str(Path.home()), "/tmp")},
    }


def written_mode(folder: Path) -> str:
    """Write a file as a user would; return its mode and group, or the error."""
    file = folder / "written-by-a-test"
    try:
        file.write_text("x", encoding="utf-8")
        status = file.stat()
        file.unlink()
    except OSError as error:
        return f"error: {error}"
    return f"{status.st_mode & 0o777:03o} {status.st_gid}"


def shells() -> dict:
    """Start shells as `docker exec` does: without the entry point, with the umask of the engine."""
    prefix = ["sh", "-c", 'umask 022; exec "$@"', "-"]
    return {name: call([*prefix, *argv])["output"].splitlines()[-1:] for name, argv in SHELLS.items()}


def call(argv: list, **environment: str) -> dict:
    try:
        finished = subprocess.run(
            argv,
            check=False,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except OSError as error:
        return {"code": 127, "output": str(error)}
    return {"code": finished.returncode, "output": finished.stdout}


def programs() -> dict:
    return {name: call(argv) for name, argv in PROGRAMS.items()}


def command_paths() -> dict:
    return {name: shutil.which(name) for name in COMMANDS}


def distributions() -> list:
    named = (
        (distribution.metadata["Name"], distribution.version) for distribution in importlib.metadata.distributions()
    )
    return sorted([re.sub(r"[-_.]+", "-", name).lower(), version] for name, version in named)


def packages() -> dict:
    """Return package -> version from the list of dpkg, without dpkg itself."""
    text = Path("/var/lib/dpkg/status").read_text(encoding="utf-8")
    rows = [dict(re.findall(r"^(Package|Version|Status): (.*)$", entry, re.MULTILINE)) for entry in text.split("\n\n")]
    return {row["Package"]: row["Version"] for row in rows if row.get("Status") == "install ok installed"}


def missing_libraries() -> dict:
    """Run the dynamic loader for every shared object, as `ldd` does, but without a shell for each."""
    loader = next(Path("/").glob("lib*/ld-linux-*.so.*"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = sorted(shared_objects())
        traced = pool.map(lambda file: call([str(loader), file], LD_TRACE_LOADED_OBJECTS="1"), objects)
        answers = dict(zip(objects, traced, strict=True))
    missing = {file: re.findall(r"(\S+) => not found", answer["output"]) for file, answer in answers.items()}
    refused = {
        file: answer["output"]
        for file, answer in answers.items()
        if answer["code"] and not missing[file] and "statically linked" not in answer["output"]
    }
    return {"checked": len(objects), "missing": {k: v for k, v in missing.items() if v}, "refused": refused}


def shared_objects() -> set:
    """Return the dynamic ELF files with the name of a library, and all dynamic ELF files in /opt and /usr/local."""
    skip = ("/proc", "/sys", "/dev", "/mnt", "/tmp")
    return {
        f"{folder}/{name}"
        for folder, folders, names in os.walk("/")
        if not folder.startswith(skip)
        for name in names
        if (re.search(r"\.so(\.|$)", name) or folder.startswith(("/opt", "/usr/local")))
        and is_dynamic(Path(folder, name))
    }


def is_dynamic(file: Path) -> bool:
    """Return whether a file is a dynamic ELF object (e_type 3, and a segment of type PT_DYNAMIC = 2)."""
    if file.is_symlink() or not file.is_file():
        return False
    try:
        with file.open("rb") as stream:
            head = stream.read(4096)
    except PermissionError:
        return False
    if not head.startswith(b"\x7fELF") or head[16] != 3:
        return False
    start, size, count = (int.from_bytes(head[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
    return any(int.from_bytes(head[at : at + 4], "little") == 2 for at in range(start, start + size * count, size))


def pip_check() -> dict:
    return call([sys.executable, "-B", "-m", "pip", "--disable-pip-version-check", "check"], PYTHONPATH="/mnt/pip")


def imports() -> dict:
    return call([sys.executable, "-B", "-c", f"import {', '.join(MODULES)}"])


def test_tools() -> dict:
    return call([sys.executable, "-B", "-c", "import openai, pytest"])


def byte_code() -> dict:
    result = call([sys.executable, "-B", "-c", BYTE_CODE])
    return {"code": result["code"], "output": result["output"]}


QUESTIONS = {
    question.__name__: question
    for question in (
        *(user, shells, programs, command_paths, distributions, packages, missing_libraries),
        *(pip_check, imports, byte_code, test_tools),
    )
}
OF_CI = "test_tools"

if __name__ == "__main__":
    names = sys.argv[1:] or [name for name in QUESTIONS if name != OF_CI]
    with ThreadPoolExecutor(2) as together:
        print(json.dumps(dict(zip(names, together.map(lambda name: QUESTIONS[name](), names), strict=True))))
