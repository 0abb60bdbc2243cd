"""Source builds: origins of wheels, checkouts and their state, and the targets that compile them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_containers.builds import diagnosis
from dynamo_containers.errors import LockError, UsageError
from dynamo_containers.facts.bases import PackageSet
from dynamo_containers.facts.catalogue import IMAGES_FILE, Stage, load_catalogue
from dynamo_containers.facts.pins import PINS_FILE
from dynamo_containers.plan import source_builds
from dynamo_containers.plan.options import ImageSelection
from dynamo_containers.plan.request import request_for
from dynamo_containers.plan.source_builds import Source
from dynamo_containers.prepare import inputs, source_checkout
from tests.unit import planned

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_containers.facts.catalogue import Catalogue
    from dynamo_containers.plan.request import BuildInputs

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIT = "https://github.com/ai-dynamo/dynamo"
ROW = f'\n[sources.dynamo]\ngit = "{GIT}"\nref = "v1.4.2"\n'


def with_row(checkout: Path, row: str, pin: str = "") -> Catalogue:
    for file, text in ((IMAGES_FILE, row), (PINS_FILE, pin)):
        with (checkout / file).open("a", encoding="utf-8") as data:
            data.write(text)
    return load_catalogue(checkout)


def pin_of(ref: str) -> str:
    return f'\n[sources.dynamo]\nref = "{ref}"\ncommit = "{COMMIT}"\n'


@pytest.fixture
def dynamo(tmp_path: Path) -> Path:
    """Return a repository with one commit that says it is Dynamo."""
    folder = tmp_path / "dynamo"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "ai-dynamo"\n', encoding="utf-8")
    (folder / ".gitignore").write_text("/target/\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    author = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    argv = ("git", "-C", str(folder), *arguments)
    return subprocess.run(
        argv, check=True, env={**os.environ, **author}, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


# Origins


def test_by_default_wheels_are_fetched(catalogue: Catalogue) -> None:
    assert source_builds.select(catalogue, {"dynamo": ""}) == {}


def test_a_row_of_the_images_file_is_the_default(checkout: Path) -> None:
    own_catalogue = with_row(checkout, f'{ROW}build = "{GIT}#{COMMIT}"\n')
    assert source_builds.select(own_catalogue, {"dynamo": ""})["dynamo"].context == f"{GIT}#{COMMIT}"
    assert source_builds.select(own_catalogue, {"dynamo": "wheels"}) == {}


def test_git_means_the_pinned_commit_of_the_repository(checkout: Path) -> None:
    own_catalogue = with_row(checkout, ROW, pin_of("v1.4.2"))
    assert source_builds.select(own_catalogue, {"dynamo": "git"}) == {
        "dynamo": Source(context=f"{GIT}#{COMMIT}", local=False, state=COMMIT)
    }


def test_git_without_a_pin_says_how_to_pin_it(checkout: Path) -> None:
    with pytest.raises(LockError, match=r"because it has no pin[.]\n.*invoke lock --only archives"):
        source_builds.select(with_row(checkout, ROW), {"dynamo": "git"})


def test_a_pin_of_another_reference_is_refused(checkout: Path) -> None:
    with pytest.raises(LockError, match=r"v1[.]4[.]2 of .* cannot be built, because the pin is for v1[.]4[.]1"):
        source_builds.select(with_row(checkout, ROW, pin_of("v1.4.1")), {"dynamo": "git"})


def test_git_of_a_source_that_the_table_lacks_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"has no sources[.]dynamo"):
        source_builds.select(catalogue, {"dynamo": "git"})


@pytest.mark.parametrize("login", ["token@", "me:secret@", ":secret@"])
def test_an_address_with_a_login_is_refused_without_printing_it(catalogue: Catalogue, login: str) -> None:
    with pytest.raises(UsageError, match="this address has a login") as caught:
        source_builds.select(catalogue, {"dynamo": f"https://{login}git.example.invalid/dynamo.git#{'a' * 40}"})
    assert login not in str(caught.value)
    ssh = f"ssh://git@git.example.invalid/dynamo.git#{'a' * 40}"
    assert source_builds.select(catalogue, {"dynamo": ssh})["dynamo"].context == ssh


@pytest.mark.parametrize("origin", [GIT, f"{GIT}#main", f"{GIT}#v1.4.2", f"{GIT}#0123456"])
def test_a_reference_that_can_move_is_refused(catalogue: Catalogue, origin: str) -> None:
    with pytest.raises(UsageError, match=r"a commit is required .*: tags and branches can move[.]\n.*git ls-remote"):
        source_builds.select(catalogue, {"dynamo": origin})


@pytest.mark.parametrize("url", ["https://git.example/dynamo", "http://127.0.0.1:8000/dynamo/"])
def test_an_address_that_buildkit_would_download_as_a_file_is_refused(catalogue: Catalogue, url: str) -> None:
    with pytest.raises(
        UsageError, match=r"download this address as a file, since it lacks [.]git[.]\n.*/dynamo[.]git#0123"
    ):
        source_builds.select(catalogue, {"dynamo": f"{url}#{COMMIT}"})


def test_with_nixl_ucx_is_built_as_it_is_pinned(checkout: Path) -> None:
    row = ROW.replace("dynamo", "ucx").replace("v1.4.2", "v1.21.x")
    own_catalogue = with_row(checkout, row, pin_of("v1.21.x").replace("dynamo", "ucx"))
    sources = source_builds.select(own_catalogue, {"nixl": "/src/nixl"})
    assert sources["nixl"] == Source(context="/src/nixl", local=True)
    assert sources["ucx"] == Source(context=f"https://github.com/ai-ucx/ucx#{COMMIT}", local=False, state=COMMIT)
    assert source_builds.select(own_catalogue, {"nixl": "/src/nixl", "ucx": "/src/ucx"})["ucx"].context == "/src/ucx"


def test_with_nixl_an_unpinned_ucx_says_how_to_pin_it(checkout: Path) -> None:
    own_catalogue = with_row(checkout, ROW.replace("dynamo", "ucx"))
    with pytest.raises(LockError, match=r"sources[.]ucx: .* it has no pin[.]\n(?s:.*)--ucx-source FOLDER"):
        source_builds.select(own_catalogue, {"nixl": "/src/nixl"})


def test_ucx_alone_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"NIXL is not built from source[.]\n.*--nixl-source FOLDER"):
        source_builds.select(catalogue, {"ucx": "/src/ucx"})


def test_wheels_of_ucx_are_refused(catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"no wheel of its own[.]\n.*--ucx-source git"):
        source_builds.select(catalogue, {"nixl": "/src/nixl", "ucx": "wheels"})


def test_bases_without_a_cuda_version_build_no_nixl(catalogue: Catalogue) -> None:
    bases = replace(catalogue.bases["debian"], cuda="", packages={"cxx": PackageSet(root="builder", packages=("g++",))})
    with pytest.raises(UsageError, match="has no `cuda`, the version that nixl is compiled for"):
        source_builds.check(bases, {"nixl": Source(context="/nixl", local=True)})


def test_bases_without_the_compilers_are_refused_with_the_missing_set(catalogue: Catalogue) -> None:
    sources = {"dynamo": Source(context="/dynamo", local=True)}
    with pytest.raises(UsageError, match=r"bases[.]debian has no packages[.]rust, which compiles dynamo"):
        source_builds.check(catalogue.bases["debian"], sources)


# Checkouts


def read(folder: Path, *, strict: bool = False) -> str:
    return source_checkout.with_states({"dynamo": Source(context=str(folder), local=True)}, strict=strict)[
        "dynamo"
    ].state


def test_the_state_of_a_clean_checkout_is_its_commit(dynamo: Path) -> None:
    (dynamo / "target").mkdir()
    (dynamo / "target" / "ignored").touch()
    assert read(dynamo, strict=True) == git(dynamo, "rev-parse", "HEAD")


@pytest.mark.parametrize("file", ["pyproject.toml", "new.py"])
def test_a_checkout_with_changes_is_dirty_and_strict_bases_refuse_it(dynamo: Path, file: str) -> None:
    with (dynamo / file).open("a", encoding="utf-8") as changed:
        changed.write("# changed\n")
    assert read(dynamo) == git(dynamo, "rev-parse", "HEAD") + "-dirty"
    with pytest.raises(LockError, match=r"is not exactly a commit .*\n.*git -C .* status"):
        read(dynamo, strict=True)


def test_a_folder_without_history_has_no_commit_and_strict_bases_refuse_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "ai-dynamo"\n', encoding="utf-8")
    assert read(tmp_path) == "no-commit"
    with pytest.raises(LockError, match="no-commit"):
        read(tmp_path, strict=True)


def test_a_checkout_of_something_else_is_refused(dynamo: Path) -> None:
    (dynamo / "pyproject.toml").write_text('[project]\nname = "nixl"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r'not a checkout of dynamo: it is a checkout of "nixl"'):
        read(dynamo)


def test_a_checkout_of_ucx_is_known_by_its_configure_ac(tmp_path: Path) -> None:
    source = {"ucx": Source(context=str(tmp_path), local=True)}
    (tmp_path / "configure.ac").write_text("dnl comment\nAC_INIT([ucx], [1.21.0])\n", encoding="utf-8")
    assert source_checkout.with_states(source, strict=False)["ucx"].state == "no-commit"
    (tmp_path / "configure.ac").write_text("AC_INIT([ompi], [5])\n", encoding="utf-8")
    with pytest.raises(UsageError, match='not a checkout of ucx: it is a checkout of "ompi"'):
        source_checkout.with_states(source, strict=False)


@pytest.mark.parametrize("content", [None, "not toml", "[tool.x]\n"])
def test_a_folder_that_is_no_project_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=r"it has no pyproject[.]toml or configure[.]ac with a project name"):
        read(tmp_path)


# Repositories


def faults_of(folder: Path, commit: str) -> list[str]:
    return diagnosis.source_faults({"dynamo": Source(context=f"file://{folder}#{commit}", local=False)})


def test_a_repository_that_has_the_commit_has_no_fault(dynamo: Path) -> None:
    assert faults_of(dynamo, git(dynamo, "rev-parse", "HEAD")) == []


def test_a_repository_without_the_commit_is_a_fault_that_names_it(dynamo: Path) -> None:
    (fault,) = faults_of(dynamo, COMMIT)
    assert f"dynamo is built from commit {COMMIT}, which file://{dynamo} does not have" in fault
    assert f"git ls-remote file://{dynamo}" in fault


def test_a_repository_that_cannot_be_read_is_a_fault_with_its_reason(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path / "nowhere", COMMIT)
    assert ", which cannot be read: " in fault
    assert "does not appear to be a git repository" in fault


def test_a_checkout_is_not_queried(tmp_path: Path) -> None:
    assert diagnosis.source_faults({"dynamo": Source(context=str(tmp_path), local=True)}) == []


# Targets


@pytest.fixture
def built(checkout: Path, facts: BuildInputs) -> BuildInputs:
    """Return the inputs of a build with Dynamo from a checkout."""
    source = Source(context="/src/dynamo", local=True, state=f"{COMMIT}-dirty")
    debs = checkout / ".build/os-packages/debian-rust-0123456789abcdef"
    return replace(facts, sources={"dynamo": source}, os_packages={"rust": debs})


def steps(catalogue: Catalogue, facts: BuildInputs, stage: Stage, *images: str) -> dict[str, dict[str, Any]]:
    targets: dict[str, dict[str, Any]]
    targets = planned.document(
        request_for(catalogue, stage, ImageSelection(images=images, platforms=["linux/amd64"])), facts
    )["target"]
    return targets


def targets_of(step: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in step["contexts"].items() if value.startswith("target:")}


def test_python_and_rust_are_built_in_parallel(catalogue: Catalogue, built: BuildInputs) -> None:
    targets = steps(catalogue, built, Stage.BASE)
    assert targets_of(targets["dynamo-rust"]) == {"below": "target:compile-rust", "source": "target:dynamo-source"}
    assert targets_of(targets["dynamo-python"]) == {"below": "target:compile-tools", "source": "target:dynamo-source"}
    assert targets_of(targets["compile-rust"]) == {"below": "target:compile-tools"}


def test_each_lock_of_the_compiler_has_its_own_cache(catalogue: Catalogue, built: BuildInputs) -> None:
    assert steps(catalogue, built, Stage.BASE)["dynamo-rust"]["args"]["TOOLCHAIN"] == "debian-rust-0123456789abcdef"


@pytest.fixture
def with_nixl(checkout: Path, built: BuildInputs) -> BuildInputs:
    """Return the inputs of a build with all three projects from checkouts."""
    debs = {name: checkout / f".build/os-packages/debian-{name}-0123456789abcdef" for name in ("rust", "cxx")}
    sources = {name: Source(context=f"/src/{name}", local=True, state=COMMIT) for name in ("dynamo", "nixl", "ucx")}
    return replace(built, sources=sources, os_packages=debs)


def dependencies(targets: dict[str, dict[str, Any]], name: str) -> set[str]:
    """Return all targets that a target is based on."""
    names: set[str] = set()
    for value in targets_of(targets[name]).values():
        parent = value.removeprefix("target:")
        names |= {parent} | dependencies(targets, parent)
    return names


def test_dynamo_and_nixl_do_not_depend_on_each_other(catalogue: Catalogue, with_nixl: BuildInputs) -> None:
    targets = steps(catalogue, with_nixl, Stage.BASE)
    assert dependencies(targets, "nixl") == {
        "ucx",
        "ucx-source",
        "nixl-source",
        "nixl-cuda",
        "nixl-cxx",
        "nixl-tools",
        "builder",
    }
    for step in ("dynamo-rust", "dynamo-python"):
        assert dependencies(targets, step) <= {"compile-rust", "compile-tools", "dynamo-source", "builder"}


def test_ucx_does_not_depend_on_nixl_s_source(catalogue: Catalogue, with_nixl: BuildInputs) -> None:
    targets = steps(catalogue, with_nixl, Stage.BASE)
    assert dependencies(targets, "ucx") == {"ucx-source", "nixl-cuda", "nixl-cxx", "nixl-tools", "builder"}


def test_nixl_is_compiled_for_the_cuda_major_of_the_bases(catalogue: Catalogue, with_nixl: BuildInputs) -> None:
    debian = replace(catalogue.bases["debian"], cuda="13")
    targets = steps(replace(catalogue, bases={"debian": debian}), with_nixl, Stage.BASE)
    assert {name: step["args"]["CUDA"] for name, step in targets.items() if "CUDA" in step["args"]} == {
        "nixl-cuda": "13",
        "nixl": "13",
        "base-nixl": "13",
        "base-rest": "13",
        "base": "13",
    }
    assert targets["base"]["args"]["BUILT"] == "ai-dynamo ai-dynamo-runtime nixl nixl-cu13"


def test_each_project_has_build_tools_from_a_lock_of_its_own(catalogue: Catalogue, with_nixl: BuildInputs) -> None:
    targets = steps(catalogue, with_nixl, Stage.BASE)
    assert targets["compile-tools"]["args"]["LAYER"] == "compile"
    assert targets["nixl-tools"]["args"]["LAYER"] == "compile-nixl"


def test_base_installs_the_built_wheels_and_does_not_fetch_them(catalogue: Catalogue, built: BuildInputs) -> None:
    base = steps(catalogue, built, Stage.BASE)["base"]
    assert {"dynamo-rust", "dynamo-python"} <= set(base["contexts"])
    assert base["args"]["BUILT"] == "ai-dynamo ai-dynamo-runtime"


def test_a_commit_is_the_build_context_of_its_target_too(catalogue: Catalogue, built: BuildInputs) -> None:
    source = Source(context=f"{GIT}#{COMMIT}", local=False, state=COMMIT)
    targets = steps(catalogue, replace(built, sources={"dynamo": source}), Stage.BASE)
    assert targets["dynamo-source"]["context"] == f"{GIT}#{COMMIT}"
    assert targets["dynamo-source"]["dockerfile"] == f"{catalogue.folder}/containers/dynamo-source/Dockerfile"


def test_a_source_is_the_build_context_of_its_target_and_the_dockerfile_is_ours(
    catalogue: Catalogue, built: BuildInputs
) -> None:
    targets = steps(catalogue, built, Stage.BASE)
    assert targets["dynamo-source"]["context"] == "/src/dynamo"
    assert targets["dynamo-source"]["dockerfile"] == f"{catalogue.folder}/containers/dynamo-source/Dockerfile"


def test_bake_may_read_a_checkout_that_is_built(catalogue: Catalogue, built: BuildInputs) -> None:
    request = request_for(catalogue, Stage.BASE, ImageSelection(platforms=["linux/amd64"]))
    allowed = [flag for flag in planned.execution(request, built).commands[0].argv if flag.startswith("--allow")]
    assert "--allow=fs.read=/src/dynamo" in allowed


def test_an_image_has_a_label_with_the_source_of_dynamo(catalogue: Catalogue, built: BuildInputs) -> None:
    labels = steps(catalogue, built, Stage.RUNTIME, "frontend")["frontend-runtime"]["labels"]
    assert labels["ai.dynamo.source.dynamo"] == f"{COMMIT}-dirty"


def test_this_project_builds_dynamo_from_a_checkout(own_checkout: Path, dynamo: Path) -> None:
    request = request_for(
        load_catalogue(own_checkout),
        Stage.BASE,
        ImageSelection(platforms=["linux/amd64"], sources={"dynamo": str(dynamo)}),
    )
    stated = inputs.offline_build_inputs(request)
    assert stated.sources["dynamo"].state == git(dynamo, "rev-parse", "HEAD")
    assert list(stated.os_packages) == ["rust"]
    assert stated.locks["base"] != inputs.offline_build_inputs(replace(request, sources={})).locks["base"]
