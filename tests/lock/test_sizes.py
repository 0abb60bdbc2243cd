"""constraints/sizes.toml, written for real, from an index on loopback: what is asked for, kept, and put right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dynamo_containers.errors import INTERRUPTED, DownloadError
from dynamo_containers.facts.catalogue import IMAGES_FILE, load_catalogue
from dynamo_containers.facts.locks import download_sizes, python_lock
from dynamo_containers.facts.locks.download_sizes import SIZES_FILE, load, read
from dynamo_containers.lock.python.report import unknown_sizes_table
from tests.lock.conftest import JSON, IndexContent, answer, interrupted, serve

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lock.conftest import Backends, ToolsProject

X86 = "cp311-cp311-manylinux_2_17_x86_64"
ARM = "cp311-cp311-manylinux_2_17_aarch64"


def wheel_size(index: IndexContent, file: str) -> int:
    return len(index.files[f"{file}.whl"])


def forget(folder: Path) -> None:
    (folder / SIZES_FILE).unlink()


def test_a_lock_that_is_made_has_the_sizes_of_what_its_target_installs(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0", requires=("beta",))
    index.add("beta", "1.0", tag=X86, requires=("alpha",))
    index.add("beta", "1.0", tag=ARM)
    index.add_source("beta", "1.0", b"x" * 9)
    project.require("alpha")
    project.make()
    assert read(project.catalogue.folder) == {
        "tools": {
            "alpha==1.0": wheel_size(index, "alpha-1.0-py3-none-any"),
            "beta==1.0": wheel_size(index, f"beta-1.0-{X86}"),
        }
    }


def test_an_upgrade_moves_the_size_and_drops_that_of_what_went(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0", requires=("beta",))
    index.add("beta", "1.0")
    project.require("alpha")
    project.make()
    index.add("alpha", "1.1")
    project.make("alpha")
    assert read(project.catalogue.folder) == {"tools": {"alpha==1.1": wheel_size(index, "alpha-1.1-py3-none-any")}}


def test_a_current_lock_that_has_no_sizes_is_not_made_again_and_only_pages_are_asked_for(
    index: IndexContent, project: ToolsProject
) -> None:
    index.add("alpha", "1.0", requires=("beta",))
    index.add("beta", "1.0")
    project.require("alpha")
    project.make()
    folder = project.catalogue.folder
    sizes, before = (folder / SIZES_FILE).read_bytes(), project.path.stat().st_mtime_ns
    forget(folder)
    index.requests.clear()
    project.make()
    assert (folder / SIZES_FILE).read_bytes() == sizes
    assert project.path.stat().st_mtime_ns == before
    assert sorted(index.requests) == ["/simple/alpha/", "/simple/beta/"]
    index.requests.clear()
    project.make()
    assert index.requests == []


def test_only_what_is_missing_is_asked_for(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    project.require("alpha", "beta")
    project.make()
    file = project.catalogue.folder / SIZES_FILE
    file.write_text('[tools]\n"alpha==1.0" = 7\n"beta==0.9" = 8\n', encoding="utf-8")
    index.requests.clear()
    project.make()
    size = wheel_size(index, "beta-1.0-py3-none-any")
    assert read(project.catalogue.folder) == {"tools": {"alpha==1.0": 7, "beta==1.0": size}}
    assert index.requests == ["/simple/beta/"]


def test_a_better_file_that_came_after_the_lock_does_not_count(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0")
    project.require("alpha")
    project.make()
    index.add("alpha", "1.0", tag=X86, requires=("beta",))
    forget(project.catalogue.folder)
    project.make()
    size = wheel_size(index, "alpha-1.0-py3-none-any")
    assert read(project.catalogue.folder) == {"tools": {"alpha==1.0": size}}


def test_what_is_compiled_for_a_platform_has_the_size_of_its_source(index: IndexContent, backends: Backends) -> None:
    index.add("kernels", "1.0", tag=X86)
    index.add_source("kernels", "1.0", b"x" * 12345)
    images = backends.folder / IMAGES_FILE
    text = images.read_text(encoding="utf-8").replace(
        'description = "first"', 'description = "first"\ncompile-from-source = { "linux/amd64" = ["kernels"] }'
    )
    images.write_text(text, encoding="utf-8")
    backends.require("first", "kernels")
    backends.make()
    assert read(backends.folder)["first-debian-amd64"] == {"kernels==1.0": 12345}
    forget(backends.folder)
    backends.make()
    assert read(backends.folder)["first-debian-amd64"] == {"kernels==1.0": 12345}


def test_a_size_that_the_index_does_not_state_is_left_out_reported_and_not_asked_for_again(
    index: IndexContent, backends: Backends
) -> None:
    index.add("alpha", "1.0", size=None)
    index.add("beta", "1.0")
    backends.require("first", "alpha", "beta")
    for outcome in (backends.make(), backends.make()):
        assert outcome.unknown_sizes == (("alpha==1.0", "first-debian-amd64"),)
        assert unknown_sizes_table(outcome.unknown_sizes) == (
            "The index does not state the sizes of these packages, so constraints/sizes.toml does not have them:\n\n"
            "| package    | locks              |\n"
            "| ---------- | ------------------ |\n"
            "| alpha==1.0 | first-debian-amd64 |"
        )
        assert list(read(backends.folder)["first-debian-amd64"]) == ["beta==1.0"]
        index.requests.clear()
    locks = python_lock.locks(load_catalogue(backends.folder))
    assert download_sizes.faults([lock for lock in locks if lock.layer.name == "first"], backends.folder) == ()
    assert index.requests == []


def test_packages_keep_their_size_when_they_move_to_the_shared_lock_and_back(
    index: IndexContent, backends: Backends
) -> None:
    index.add("torch", "2.11.0")
    index.add("numba", "0.65.0")
    backends.require("first", "torch", "numba")
    backends.make()
    torch, numba = (wheel_size(index, f"{name}-py3-none-any") for name in ("torch-2.11.0", "numba-0.65.0"))
    assert read(backends.folder)["common-debian-amd64"] == {}
    backends.require("second", "torch")
    backends.make()
    assert read(backends.folder)["common-debian-amd64"] == {"torch==2.11.0": torch}
    assert read(backends.folder)["first-debian-amd64"] == {"numba==0.65.0": numba}
    assert read(backends.folder)["second-debian-amd64"] == {}
    backends.require("second")
    backends.make()
    assert read(backends.folder)["first-debian-amd64"] == {"numba==0.65.0": numba, "torch==2.11.0": torch}


def test_a_lock_that_gets_a_package_back_since_another_one_moved_it_asks_nobody_for_its_size(
    index: IndexContent, backends: Backends, capfd: pytest.CaptureFixture[str]
) -> None:
    index.add("numba", "0.65.0")
    index.add("alpha", "1.0", requires=("numba",))
    backends.require("first", "alpha")
    backends.require("second", "numba")
    backends.make()
    index.add("numba", "0.66.0")
    index.add("alpha", "1.1", requires=("numba>=0.66",))
    backends.make("alpha==1.1")
    size = wheel_size(index, "numba-0.65.0-py3-none-any")
    assert read(backends.folder)["second-debian-amd64"] == {"numba==0.65.0": size}
    assert "pip_sizes" not in capfd.readouterr().err


def test_a_page_is_asked_for_once_for_all_locks_and_a_wheel_of_the_base_is_the_one_that_is_locked(
    index: IndexContent, backends: Backends
) -> None:
    index.add("dynamo", "1.0", tag=X86, requires=("nothing",))
    index.add("numba", "0.65.0")
    index.add("numba", "0.65.1")
    for name, line in {"first": "numba==0.65.0", "second": "numba==0.65.1", "tools": "numba"}.items():
        backends.require(name, line)
    backends.make(also=("tools",))  # the tools have another target
    before = read(backends.folder)
    assert before["base-debian-amd64"] == {"dynamo==1.0": wheel_size(index, f"dynamo-1.0-{X86}")}
    forget(backends.folder)
    index.requests.clear()
    backends.make(also=("tools",))
    assert read(backends.folder) == before
    assert sorted(index.requests) == ["/simple/dynamo/", "/simple/numba/"]


def test_a_narrowed_run_leaves_the_tables_of_other_locks_and_drops_those_of_locks_that_are_gone(
    index: IndexContent, backends: Backends
) -> None:
    index.add("numba", "0.65.0")
    backends.require("ci", "numba")
    backends.make(also=("first-ci",))
    numba = wheel_size(index, "numba-0.65.0-py3-none-any")
    with (backends.folder / SIZES_FILE).open("a", encoding="utf-8") as file:
        file.write('[second-dev-debian-amd64]\n"kept==1.0" = 1\n[third-debian-amd64]\n"gone==1.0" = 1\n')
    backends.make()
    sizes = read(backends.folder)
    assert sizes["first-ci-debian-amd64"] == {"numba==0.65.0": numba}
    assert sizes["second-dev-debian-amd64"] == {"kept==1.0": 1}
    assert "third-debian-amd64" not in sizes


def test_a_file_that_is_half_of_a_merge_is_made_anew(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0")
    project.require("alpha")
    project.make()
    file = project.catalogue.folder / SIZES_FILE
    before = file.read_bytes()
    file.write_bytes(b"<<<<<<< HEAD\n" + before)
    project.make()
    assert file.read_bytes() == before


def test_an_index_that_does_not_answer_leaves_the_file_as_it_was(index: IndexContent, project: ToolsProject) -> None:
    index.add("alpha", "1.0")
    project.require("alpha")
    project.make()
    file = project.catalogue.folder / SIZES_FILE
    file.write_bytes(b"# as it was\n")
    index.instead["alpha"] = lambda to: answer(to, b"", JSON, 500)
    with pytest.raises(DownloadError, match=r"unusable page for alpha(.|\n)*sizes\.toml was not changed"):
        project.make()
    assert file.read_bytes() == b"# as it was\n"
    assert sorted(file.name for file in file.parent.iterdir()) == ["sizes.toml", "tools.txt"]


def test_an_own_index_that_cannot_be_reached_leaves_out_its_locks_sizes_and_the_others_are_stated(
    index: IndexContent, backends: Backends
) -> None:
    other = IndexContent()
    server = serve(other)
    index.add("torch", "2.11.0")
    other.add("tensorrt-llm", "1.3.0")
    backends.own_index("nvidia", other.address, "tensorrt-llm")
    backends.image("trtllm", more='indexes = ["nvidia"]')
    backends.require("trtllm", "tensorrt_llm")
    backends.require("first", "torch")
    backends.make(also=("trtllm",))
    forget(backends.folder)
    server.shutdown()
    server.server_close()
    (row,) = backends.make(also=("trtllm",)).unreachable
    assert (row.name, row.pinned) == ("sizes of constraints/trtllm-debian-amd64.txt", "left out")
    sizes = load(backends.folder)
    assert sizes.stated["first-debian-amd64"] == {"torch==2.11.0": wheel_size(index, "torch-2.11.0-py3-none-any")}
    assert sizes.stated["trtllm-debian-amd64"] == {}
    assert sizes.unstated == {}


def test_an_interrupted_question_leaves_no_answer(index: IndexContent, project: ToolsProject, tmp_path: Path) -> None:
    index.add("alpha", "1.0")
    project.require("alpha")
    project.make()
    questions, answers = tmp_path / "questions.json", tmp_path / "answers.json"
    questions.write_text(json.dumps({project.lock.path: ["alpha==1.0"]}), encoding="utf-8")
    arguments = ("--folder", str(project.catalogue.folder), str(questions), "--answers", str(answers))
    code, complaints = interrupted(index, "alpha", "dynamo_containers.lock.python.size_query", *arguments)
    assert code == INTERRUPTED
    assert "Traceback" not in complaints
    assert not answers.exists()
