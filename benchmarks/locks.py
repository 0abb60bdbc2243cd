"""Duration of Python locks compared with plain pip-compile: `nox -s "bench(lock)"`; `-- --quick` measures a part.

One lock of some 247 packages, for this machine's own platform, is compiled from scratch by us, by plain pip-compile
without hashes and, once, with them. All use the same interpreter, index, settings, cooldown and HTTP cache. A round
that does not count fills the cache, as far as the index allows: some indexes forbid caching, then all query everything
again. The two locks with hashes must be equal, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile, copytree, disk_usage, ignore_patterns
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pip._internal.configuration import Configuration

from dynamo_containers import process
from dynamo_containers.facts.catalogue import IMAGES_FILE, ROOT, load_catalogue
from dynamo_containers.facts.locks import python_lock
from dynamo_containers.lock.python import compile as pip_compile
from dynamo_containers.lock.python import schedule as python_schedule
from dynamo_containers.platforms import native_platform

if TYPE_CHECKING:
    from dynamo_containers.facts.locks.python_lock import LockFile

REQUIREMENT = "ai-dynamo[vllm]==1.4.2"
LAYER = "builder"
"""A layer that is based on no other: its lock is exactly the output of pip-compile."""
ROUNDS = 3
CHECKS = 5
INVOKE_LOCK, BARE, HASHED = "invoke lock", "pip-compile", "pip-compile --generate-hashes"
CHECK, VERIFY, ALL_LOCKS = "invoke lock --check", "invoke lock --check --verify", "all Python locks from scratch"
MOST_SECONDS = {CHECK: 2, VERIFY: 30, ALL_LOCKS: 480}
MAX_RATIO_TO_BARE = 1.5
LEAST_FASTER_THAN_HASHED = 4
HASHED_BYTES = 55 * 10**9
"""Size of the cache of pip-compile --generate-hashes: files of every platform (measured 47 GB)."""
RESULTS = ROOT / ".build" / "bench-lock.json"
ENTER = 'cd "$0" && exec "$@"'
# 10: an index or a repository could not be reached from here, everything else succeeded (docs/errors.md).
ENTER_CLOSED_NETWORK = 'cd "$0" && { "$@" || [ $? -eq 10 ]; }'


def like_this_machine(folder: Path) -> LockFile:
    """Make the bases of a checkout those of this machine; return the lock that is then for its own platform."""
    file = folder / IMAGES_FILE
    text = file.read_text(encoding="utf-8")
    here = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "glibc": platform.libc_ver()[1]}
    for key, value in here.items():
        text = re.sub(rf'^{key} = ".*"$', f'{key} = "{value}"', text, flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")
    locks = python_lock.locks(load_catalogue(folder))
    return next(lock for lock in locks if lock.layer.name == LAYER and lock.target.platform == native_platform())


def plain(lock: LockFile, folder: Path, output: Path, before: datetime, *, hashes: bool = True) -> process.Command:
    """Return the command of plain pip-compile with our flags, index and cooldown."""
    configuration = Configuration(isolated=False)
    configuration.load()
    env = {name: "" for name in os.environ if name.startswith("PIP_")}  # pip ignores empty variables
    env |= {**pip_compile.connection_variables(configuration.items()), "PIP_CONFIG_FILE": os.devnull}
    arguments = pip_compile.arguments(lock, output, (), (), upgrade_all=False)
    arguments += [f"--uploaded-prior-to={before.isoformat(timespec='seconds')}"]
    if not hashes:
        arguments.remove("--generate-hashes")
    return process.Command(
        argv=("sh", "-c", ENTER, str(folder), sys.executable, "-m", "piptools", "compile", *arguments),
        env=env,
        quiet=True,
    )


def body(text: str) -> str:
    """Return a lock without its header."""
    return re.sub(r"\A(#.*\n)+", "", text)


def seconds(command: process.Command) -> float:
    """Return the duration of a command from the start to the end of its process."""
    start = time.perf_counter()
    process.execute(process.Plan(commands=(command,)))
    duration = time.perf_counter() - start
    print(f"  {duration:.1f} s", file=sys.stderr, flush=True)
    return duration


def one_lock(scratch: Path, *, quick: bool) -> tuple[dict[str, list[float]], str]:
    """Measure one lock; return the seconds, and the difference between our lock and the plain one."""
    folder = scratch / "one"
    for part in ("requirements", "containers", "constraints"):
        (folder / part).mkdir(parents=True)
    copyfile(ROOT / IMAGES_FILE, folder / IMAGES_FILE)
    (folder / "dynamo_containers").symlink_to(ROOT / "dynamo_containers")
    lock = like_this_machine(folder)
    for path in lock.inputs:
        (folder / path).write_text(f"{REQUIREMENT}\n" if path == lock.layer.requirements else "", encoding="utf-8")
    before = python_schedule.cooldown_limit(load_catalogue(), datetime.now(UTC))
    lock_file, plain_file = folder / lock.path, scratch / "plain.txt"
    commands = {
        INVOKE_LOCK: python_schedule.compile_command(
            lock, folder, python_schedule.UpgradeOptions(uploaded_before=before)
        ),
        BARE: plain(lock, folder, plain_file, before, hashes=False),
        HASHED: plain(lock, folder, plain_file, before),
    }
    cache = {"PIP_TOOLS_CACHE_DIR": str(scratch / "cache")}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name in commands if number == ROUNDS and not quick else (INVOKE_LOCK, BARE):
            (lock_file if name == INVOKE_LOCK else plain_file).unlink(missing_ok=True)
            duration = seconds(replace(commands[name], env={**commands[name].env, **cache}))
            times[name] += [duration] if number else []
    lock_text = lock_file.read_text(encoding="utf-8")
    print(f"{lock_text.count('==')} packages", file=sys.stderr)
    same = quick or body(lock_text) == plain_file.read_text(encoding="utf-8")
    return {
        name: durations for name, durations in times.items() if durations
    }, "" if same else f"{lock_file} differs from {plain_file}"


def in_folder(folder: Path, *arguments: str) -> process.Command:
    """Return a command that runs invoke in a checkout."""
    return process.Command(
        argv=("sh", "-c", ENTER_CLOSED_NETWORK, str(folder), sys.executable, "-m", "invoke", *arguments)
    )


def all_locks(scratch: Path) -> float:
    """Create every Python lock in a copy of this checkout without locks; return the seconds."""
    folder = scratch / "all"
    copytree(ROOT, folder, ignore=ignore_patterns(".git", ".build", ".venv", "__pycache__", ".*_cache"))
    for lock in python_lock.locks(load_catalogue(folder)):
        (folder / lock.path).unlink(missing_ok=True)
    return seconds(in_folder(folder, "lock", "--only", "python"))


def measure(scratch: Path, *, quick: bool) -> tuple[dict[str, list[float]], list[str]]:
    """Return all seconds, and other faults."""
    times = {
        CHECK: [seconds(in_folder(ROOT, "lock", "--check")) for _ in range(CHECKS)],
        VERIFY: [seconds(in_folder(ROOT, "lock", "--check", "--verify"))],
    }
    lock_times, difference = one_lock(scratch, quick=quick)
    times |= lock_times
    if not quick:
        times[ALL_LOCKS] = [all_locks(scratch)]
    return times, [difference] if difference else []


def report(times: dict[str, list[float]]) -> list[str]:
    """Print a table of medians and ratios; return the limits that are exceeded."""
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    for name, durations in times.items():
        limit = f"  limit {MOST_SECONDS[name]}" if name in MOST_SECONDS else ""
        print(f"  {name:<32} {medians[name]:7.2f} s  (median of {len(durations)}){limit}")
    ratio = statistics.median(seconds / bare for seconds, bare in zip(times[INVOKE_LOCK], times[BARE], strict=True))
    print(f"  {INVOKE_LOCK} / {BARE}, pair by pair: {ratio:.2f}  limit {MAX_RATIO_TO_BARE}")
    slow = [f"{name}: {medians[name]:.1f} s" for name, most in MOST_SECONDS.items() if medians.get(name, 0) > most]
    slow += [f"{ratio:.2f} x pip-compile without hashes"] if ratio > MAX_RATIO_TO_BARE else []
    if HASHED in times:
        faster = medians[HASHED] / medians[INVOKE_LOCK]
        print(f"  {HASHED} / {INVOKE_LOCK}: {faster:.1f}  at least {LEAST_FASTER_THAN_HASHED}")
        slow += [f"only {faster:.1f} x faster than with hashes"] if faster < LEAST_FASTER_THAN_HASHED else []
    return slow


def main() -> int:
    """Print the table and write the same as JSON."""
    parser = argparse.ArgumentParser(prog='nox -s "bench(lock)" --', description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without pip-compile --generate-hashes and all locks")
    quick = parser.parse_args().quick
    RESULTS.parent.mkdir(exist_ok=True)
    if not quick and disk_usage(RESULTS.parent).free < HASHED_BYTES:
        print(f"Not measured: {HASHED} downloads {HASHED_BYTES / 1e9:.0f} GB. Try: -- --quick", file=sys.stderr)
        return 3
    with TemporaryDirectory(prefix="bench-lock-", dir=RESULTS.parent) as scratch:
        times, faults = measure(Path(scratch), quick=quick)
    print(f"{REQUIREMENT}, this machine's platform, and the locks of this checkout")
    faults += report(times)
    process.write(process.Document(path=RESULTS, text=json.dumps({"seconds": times, "wrong": faults}, indent=2) + "\n"))
    print(f"\nWritten to {RESULTS.relative_to(ROOT)}")
    for fault in faults:
        print(f"limit exceeded, or wrong result: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
