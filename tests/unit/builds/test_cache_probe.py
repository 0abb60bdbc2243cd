"""Tests of the probe of build caches: available, absent or unreachable, and the lines for the user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.builds import cache_probe
from dynamo_containers.docker_cli import Docker
from dynamo_containers.errors import CommandFailedError
from dynamo_containers.plan.caches import Cache, Caches

if TYPE_CHECKING:
    from pathlib import Path

HERE = Cache(place="registry.example/cache", name="frontend-runtime-debian-amd64")
BOTH = Cache(place="registry.example/cache", name="frontend-runtime-debian-amd64-arm64")
NOWHERE = Cache(place="127.0.0.1:9/cache", name="frontend-runtime-debian-amd64")
REFUSED = (
    'failed to configure registry cache importer: failed to do request: Head "https://127.0.0.1:9/v2/cache/manifests/x"'
    ": dial tcp 127.0.0.1:9: connect: connection refused"
)


def import_line(cache: Cache, error: str = "") -> str:
    """Return the line of JSON in which buildx reports the import of a cache."""
    name = f"importing cache manifest from {cache.reference}"
    vertex = {"digest": name, "name": name, "started": "2026-11-24T18:00:00Z", "completed": "2026-11-24T18:00:01Z"}
    return json.dumps({"vertexes": [{**vertex, **({"error": error} if error else {})}]})


def engine(tmp_path: Path, *lines: str, code: int = 0) -> Docker:
    """Return a docker CLI whose buildx prints these lines."""
    (tmp_path / "said").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Docker(environment={}, buildx=("sh", "-c", f"cat '{tmp_path}/said' >&2; exit {code}", "buildx"))


def absent(cache: Cache) -> str:
    return f"failed to configure registry cache importer: {cache.reference}: not found"


def test_a_build_uses_the_available_caches(tmp_path: Path) -> None:
    docker = engine(tmp_path, import_line(HERE), import_line(BOTH, absent(BOTH)), "not JSON")
    usable, lines = cache_probe.usable_caches(docker, tmp_path, Caches(read=(HERE, BOTH), write={"frontend": HERE}))
    assert usable == Caches(read=(HERE,), write={"frontend": HERE})
    assert lines == ()


def test_an_unreachable_registry_is_neither_read_nor_written_and_reported_once(tmp_path: Path) -> None:
    docker = engine(tmp_path, import_line(HERE), import_line(NOWHERE, REFUSED))
    selected = Caches(read=(HERE, NOWHERE), write={"frontend": NOWHERE})
    usable, lines = cache_probe.usable_caches(docker, tmp_path, selected)
    assert usable == Caches(read=(HERE,))
    assert lines == (
        "The build cache at 127.0.0.1:9/cache is not used: connection refused. The build continues without it.",
    )


def test_an_empty_cache_is_reported_and_written(tmp_path: Path) -> None:
    docker = engine(tmp_path, import_line(HERE, absent(HERE)))
    usable, lines = cache_probe.usable_caches(docker, tmp_path, Caches(read=(HERE,), write={"frontend": HERE}))
    assert usable == Caches(write={"frontend": HERE})
    assert lines == ("The build cache at registry.example/cache has nothing for this build yet.",)


def test_a_folder_is_checked_without_the_engine(tmp_path: Path) -> None:
    full, empty = Cache(place=f"{tmp_path}/full", name="a"), Cache(place=f"{tmp_path}/empty", name="a")
    (tmp_path / "full/a").mkdir(parents=True)
    (tmp_path / "full/a/index.json").touch()
    docker = Docker(environment={}, buildx=("false",))
    usable, lines = cache_probe.usable_caches(docker, tmp_path, Caches(read=(full, empty)))
    assert usable.read == (full,)
    assert lines == (f"The build cache at {tmp_path}/empty has nothing for this build yet.",)


def test_a_missing_folder_is_made_and_a_faulty_one_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    good, bad = Cache(place=f"{tmp_path}/new/cache", name="a"), Cache(place=f"{tmp_path}/file", name="a")
    docker = Docker(environment={}, buildx=("false",))
    usable, lines = cache_probe.usable_caches(docker, tmp_path, Caches(write={"one": good, "other": bad}))
    assert usable == Caches(write={"one": good})
    assert (tmp_path / "new/cache").is_dir()
    assert lines == (f"The build cache at {tmp_path}/file is not used: file exists. The build continues without it.",)


def test_a_failed_probe_is_not_an_empty_cache(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="did not report which build caches"):
        cache_probe.usable_caches(engine(tmp_path, "ERROR: no", code=1), tmp_path, Caches(read=(HERE,)))


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            (
                'failed commit on ref "layer-sha256:1": commit failed: unexpected commit digest sha256:'
                f"{'3' * 64}, expected sha256:{'7' * 64}: failed precondition"
            ),
            (
                f"The build cache at registry.example/cache has other bytes than it lists "
                f"(sha256:{'3' * 64}, not sha256:{'7' * 64})."
            ),
        ),
        (
            "failed to copy: httpReadSeeker: failed open: connection refused\nmore",
            (
                "The build cache at registry.example/cache does not serve what it lists: "
                "failed to copy: httpReadSeeker: failed open: connection refused."
            ),
        ),
        ("process /bin/false did not complete successfully: exit code: 1", ""),
    ],
)
def test_the_fault_of_a_cache_is_found_in_the_history(tmp_path: Path, message: str, line: str) -> None:
    script = """case "$2" in
ls) echo '{"ref":"a/b/old","created_at":"2026-11-24T17:59:59.5Z"}'
    echo '{"ref":"a/b/new","created_at":"2026-11-24T18:00:01.5Z"}' ;;
inspect) [ "$5" = new ] && cat "$SAID" ;;
esac"""
    (tmp_path / "said").write_text(json.dumps({"Error": {"Message": message}}), encoding="utf-8")
    docker = Docker(environment={"SAID": f"{tmp_path}/said"}, buildx=("sh", "-c", script, "buildx"))
    assert cache_probe.reading_fault(docker, (HERE,), "2026-11-24T18:00:00") == line


def test_a_buildx_without_a_history_reports_no_fault() -> None:
    docker = Docker(environment={}, buildx=("false",))
    assert cache_probe.reading_fault(docker, (HERE,), "2026-11-24T18:00:00") == ""
    assert cache_probe.writing_fault(docker, "a/b/new") == ""


def test_the_error_of_an_unwritten_cache_is_in_the_log_of_the_build() -> None:
    vertex = {"digest": "2", "name": "exporting cache to registry", "error": "error writing layer blob: denied\nmore"}
    log = (
        f"{json.dumps({'vertexes': [{'digest': '1', 'name': '[os 1/2] RUN'}]})}\n{json.dumps({'vertexes': [vertex]})}\n"
    )
    assert cache_probe.export_error(log) == "error writing layer blob: denied"
    assert cache_probe.export_error(log.partition("\n")[0]) == ""
