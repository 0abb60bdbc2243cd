from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from dynamo_containers.inspect.inventory import history

if TYPE_CHECKING:
    from pathlib import Path


def commit(folder: Path, day: int, **files: str) -> str:
    for name, text in files.items():
        path = folder / "constraints" / f"{name.replace('_', '-')}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    date = f"2026-01-{day:02}T00:00:00+00:00"
    environment = {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    for arguments in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "--allow-empty", "-m", "x")):
        subprocess.run(("git", "-C", str(folder), *arguments), check=True, env=environment)
    command = ("git", "-C", str(folder), "rev-parse", "HEAD")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def is_old(name: str, version: str) -> bool:
    return name in {"urllib3", "libssl3"} and version < "2.7"


def test_a_period_is_from_the_commit_that_brought_a_version_to_the_one_that_removed_it(tmp_path: Path) -> None:
    first = commit(tmp_path, 1, vllm_debian_amd64="urllib3==2.5 \\\n    --hash=sha256:0\n", tools="urllib3==2.5\n")
    commit(tmp_path, 2, vllm_debian_amd64="urllib3==2.5 \\\n    --hash=sha256:1\n    # via x\n")
    third = commit(tmp_path, 3, vllm_debian_amd64="urllib3==2.8 \\\n    --hash=sha256:2\n")
    fourth = commit(tmp_path, 4, os_debian_runtime_amd64="libssl3 1.1 amd64 debian pool/x.deb 1 sha256:0\n")
    found = history.periods(tmp_path, {"urllib3", "libssl3"}, is_old)
    assert [(row.lock, row.version, row.since, row.until) for row in found] == [
        ("vllm-debian-amd64", "2.5", first, third),
        ("os-debian-runtime-amd64", "1.1", fourth, ""),
    ]
    assert found[0].since_time.startswith("2026-01-01")


def test_a_package_whose_name_begins_alike_is_another_one(tmp_path: Path) -> None:
    commit(tmp_path, 1, vllm_debian_amd64="urllib3-extra==2.5\nmy-urllib3==2.5\n")
    assert history.periods(tmp_path, {"urllib3"}, is_old) == ()
